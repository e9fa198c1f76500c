#include "conf/table.h"

static bool is_fqdn(struct str v)
{
	return str_chr(v, '.') > 0 && conf_domain_ok(v) && !conf_is_local(v);
}

/* The name behind the address in the line of hosts(5) that knows this machine's short
 * name: what "hostname -f" says on most machines, without asking the resolver. */
static struct str hosts_name(struct str hosts, struct str nodename)
{
	struct str line, text, name, word;

	while (str_cut(&hosts, '\n', &line)) {
		if (!str_cut(&line, '#', &text))
			continue;
		str_word(&text, &word); /* the address */
		str_word(&text, &name);
		for (word = name; word.n; str_word(&text, &word))
			if (str_ieq(word, nodename) && is_fqdn(name))
				return name;
	}
	return STR_NONE;
}

static void set(char **field, struct str v)
{
	free(*field);
	*field = str_dup(v);
}

void conf_names(struct conf *c, struct str nodename, struct str mailname,
                struct str hosts)
{
	_cleanup_buf_ struct buf full = BUF_INIT;
	struct str mail, in_hosts;

	str_word(&mailname, &mail);
	if (!is_fqdn(mail))
		mail = STR_NONE;
	if (c->hostname[0] == '\0' && conf_domain_ok(nodename)) {
		in_hosts = hosts_name(hosts, nodename);
		if (is_fqdn(nodename)) {
			set(&c->hostname, nodename);
		} else if (in_hosts.n) {
			set(&c->hostname, in_hosts);
		} else if (!mail.n && c->domain[0] && str_chr(nodename, '.') < 0 &&
		           !conf_is_local(nodename)) {
			buf_str(&full, nodename);
			buf_fmt(&full, ".%s", c->domain);
			if (is_fqdn(buf_view(&full)))
				set(&c->hostname, buf_view(&full));
		}
	}
	if (c->hostname[0] == '\0' && mail.n)
		set(&c->hostname, mail);
	if (c->domain[0] == '\0')
		set(&c->domain, mail.n ? mail : str_z(c->hostname));
}
