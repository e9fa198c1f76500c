/* What must hold between the keys of a place to listen, and what of its files can be seen:
 * they may be for root or the listener alone, and we run as neither. */
#include "conf/load.h"
#include "base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CERTIFICATE_MAX = 1 << 20 /* octets */ };

void load_pair(struct load *ld, const void *in, const char *certificate, const char *key)
{
	if (certificate[0] && !key[0])
		load_error(ld, load_line(ld, in, "tls-certificate"),
		           "tls-certificate without tls-key; add tls-key = "
		           "\"/etc/mailchute/key.pem\"");
	if (key[0] && !certificate[0])
		load_error(ld, load_line(ld, in, "tls-key"),
		           "tls-key without tls-certificate; add tls-certificate = "
		           "\"/etc/mailchute/certificate.pem\"");
}

/* What may be closed to us is looked at from outside. */
static bool see(struct load *ld, int line, const char *key, const char *path)
{
	struct stat st;
	int e = stat(path, &st) < 0 ? -errno : 0;

	if (e == -EACCES)
		return false;
	if (e < 0)
		load_error(ld, line, "%s: %s cannot be found: %s; write it there", key,
		           path, strerror(-e));
	else if (!S_ISREG(st.st_mode))
		load_error(ld, line, "%s: %s is no regular file; give the name of one",
		           key, path);
	else
		return true;
	return false;
}

static void check_secret(struct load *ld, const void *in, const char *key,
                         const char *path)
{
	int line = load_line(ld, in, key);
	struct stat st;

	if (path[0] == '\0' || !(ld->files & CONF_FILES_USERS) ||
	    !see(ld, line, key, path))
		return;
	if (stat(path, &st) == 0 && (st.st_mode & 07))
		load_error(ld, line,
		           "%s: %s can be read by everyone; chown %s %s; chmod 600 %s",
		           key, path, MAILCHUTE_IN_USER, path, path);
}

static void check_certificate(struct load *ld, const void *in, const char *path)
{
	static const char key[] = "tls-certificate";
	_cleanup_buf_ struct buf text = BUF_INIT;
	_cleanup_fd_ int fd = -1;
	int line = load_line(ld, in, key), e;

	if (path[0] == '\0' || !(ld->files & CONF_FILES_LISTENING) ||
	    !see(ld, line, key, path))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return; /* the listener says so, if it cannot either */
	e = io_slurp(fd, &text, CERTIFICATE_MAX);
	if (e < 0)
		load_error(ld, line, "%s: %s cannot be read: %s; give another file", key,
		           path, e == -EFBIG ? "it is too large" : strerror(-e));
	else
		load_certificate(ld, line, key, path, buf_view(&text));
}

void load_listen(struct load *ld, const void *in, struct listen *l)
{
	bool local = conf_listen_unix(str_z(l->at));

	if (!load_given(ld, in, "tls"))
		l->tls = l->tls_certificate[0] ? LISTEN_TLS_STARTTLS : LISTEN_TLS_NONE;
	else if (l->tls != LISTEN_TLS_NONE && !l->tls_certificate[0])
		load_error(ld, load_line(ld, in, "tls"),
		           "tls without tls-certificate; add tls-certificate = \"...\" "
		           "and tls-key = \"...\"");
	load_pair(ld, in, l->tls_certificate, l->tls_key);
	if (l->users_file[0] && l->tls == LISTEN_TLS_NONE && !l->auth_insecure)
		load_error(ld, load_line(ld, in, "users-file"),
		           "users-file without TLS: passwords would travel in clear; add "
		           "tls-certificate and tls-key (or auth-insecure = \"yes\")");
	if (local && load_assigned(ld, in, "allow", 0))
		load_error(ld, load_line(ld, in, "allow"),
		           "allow has no meaning for a unix: socket, which everybody on "
		           "this machine may use; remove it");
	if (!local && l->allow.n == 0 && !l->users_file[0])
		load_error(ld, load_line(ld, in, "allow"),
		           "allow names nobody, and there is no users-file, so that "
		           "nobody could send mail; name networks, or add users-file");
	check_certificate(ld, in, l->tls_certificate);
	check_secret(ld, in, "tls-key", l->tls_key);
	check_secret(ld, in, "users-file", l->users_file);
}

/* Only one of them would get them, and the other could not be opened at all. */
void load_listens(struct load *ld, const struct conf *c)
{
	for (size_t i = 0; i < c->listens; i++)
		for (size_t k = 0; k < i; k++) {
			const struct listen *l = &c->listen[i], *before = &c->listen[k];

			if (!conf_listen_overlap(str_z(l->at), str_z(before->at)))
				continue;
			load_error(ld, l->line,
			           "listen \"%s\" has connections in common with listen "
			           "\"%s\" of line %d; remove one, or name each address "
			           "of its own",
			           l->at, before->at, before->line);
			break;
		}
}
