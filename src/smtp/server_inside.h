/*
 * server_inside.h - what the files of the server session share (server.h)
 */
#ifndef SMTP_SERVER_INSIDE_H
#define SMTP_SERVER_INSIDE_H

#include "smtp/server.h"

/* One reply line: any bytes of words become printable ASCII, at most SERVER_WORDS_MAX. */
void server_line(struct server *s, struct buf *out, int code, struct str words);
/* The same with a 5xx counted as an error of the client: the one too many becomes 421 and
 * closes the session, as does a 421. words: an enhanced code first. */
void server_say(struct server *s, struct buf *out, int code, const char *words);
/* Not counted; words may lack an enhanced code, or be none at all. */
void server_say_words(struct server *s, struct buf *out, int code, struct str words);
/* The same for a refusal that one of the caller's functions gave, or -errno. */
void server_say_theirs(struct server *s, struct buf *out, int code, struct str words);
/* 421 with the words, and the session is closed. */
void server_close_with(struct server *s, struct buf *out, struct str words);
/* The transaction is given up, if there is one. */
void server_give_up(struct server *s);

/* A line that is a command, without its end and blanks before it. */
void server_command(struct server *s, struct str line, struct buf *out);

/* AUTH and its arguments; then each line of the dialogue. */
void server_auth(struct server *s, struct str arg, struct buf *out);
void server_auth_line(struct server *s, struct str line, struct buf *out);
bool server_auth_offered(const struct server *s);

/* Takes content from bytes, up to its end at the most; gives the octets used. After the
 * end the reply is out and the state another one. */
size_t server_content(struct server *s, struct str bytes, struct buf *out);
/* 354 is going to be said: content begins. */
void server_content_begin(struct server *s);

#endif
