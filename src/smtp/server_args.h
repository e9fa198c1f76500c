/*
 * server_args.h - arguments of MAIL and RCPT (RFC 5321 4.1.2, 1870, 3461, 6152, 6531)
 *
 * Pure text, linear time; input is hostile, but free of control bytes other than TAB.
 */
#ifndef SMTP_SERVER_ARGS_H
#define SMTP_SERVER_ARGS_H

#include "smtp/server.h"

struct server_rcpt_params {
	struct str notify; /* points into room */
	struct str orcpt;
	char room[24]; /* "SUCCESS,FAILURE,DELAY" */
};

/* Takes "FROM:" (word) and the address behind it from the front of *arg, which then holds
 * the parameters. False: not like that. */
bool server_path(struct str *arg, struct str word, struct str *ret_addr);
/* All parameters, each at most once. 0; 501: a bad value, a parameter twice, too many;
 * 555: an unknown one. */
int server_mail_params(struct str rest, struct server_params *ret);
int server_rcpt_params(struct str rest, struct server_rcpt_params *ret);

#endif
