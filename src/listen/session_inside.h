/*
 * session_inside.h - what session.c and its dialogue share
 */
#ifndef LISTEN_SESSION_INSIDE_H
#define LISTEN_SESSION_INSIDE_H

#include "listen/link.h"
#include "listen/session.h"
#include "listen/submit.h"
#include "smtp/server.h"

enum { SESSION_LOGGED_MAX = 30 /* refusals of one session that are logged */ };

struct session {
	const struct session_conf *c;
	const struct listen *listen; /* NULL: -bs */
	struct server server;
	struct server_conf server_conf;
	struct server_ops ops;
	struct link link;
	struct submit submit;
	struct buf certificate, key; /* PEM; n == 0: none */
	struct buf hostname;
	int auth_fd;     /* the helper; -1: none */
	bool open;       /* a transaction is */
	bool cut;        /* -bs: the input has ended inside of a message */
	int64_t end;     /* clock_ms() at which all ends */
	int64_t heard;   /* the last octets of the client */
	int64_t leave;   /* the same once SIGTERM came; 0: it did not */
	unsigned logged; /* refusals */
};

/* Appends " client=... helo=... user=...", what there is of it. */
void session_log_client(const struct session *s, struct buf *line);
/* A warning: event smtpd. */
void session_log_trouble(const struct session *s, const char *what, struct str why);
/* What the session has found wrong with the section's certificate and key (n == 0: nothing), where
 * that is news (quiet.h). */
void session_log_certificate(const struct session *s, struct str why);
/* Appends "[192.0.2.1]" or "[IPv6:2001:db8::1]", our address of a socket of TCP. */
void session_literal(int fd, struct buf *ret);
/* The functions of the server's dialogue (smtp/server.h); arg is the session. */
void session_ops(struct session *s, struct server_ops *ret);

#endif
