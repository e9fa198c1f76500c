#include "conf/table.h"

static void add_groups(const struct strv *users, struct strv *ret)
{
	for (size_t i = 0; i < users->n && ret->n < CONF_GROUPS_MAX; i++) {
		const char *name = users->v[i] + 1;
		bool known = users->v[i][0] != '@' || name[0] == '\0';

		for (size_t k = 0; k < ret->n && !known; k++)
			known = strcmp(ret->v[k], name) == 0;
		if (!known)
			strv_add(ret, str_z(name));
	}
}

void conf_groups(const struct conf *c, struct strv *ret)
{
	add_groups(&c->override_user, ret);
	for (size_t i = 0; i < c->rules; i++)
		add_groups(&c->rule[i].user, ret);
}
