/*
 * secret.h - passwords and tokens that a command prints (password-command, token-command)
 *
 * Push cannot start programs behind its fence, and a program must not inherit it. So a helper
 * is forked before the fence: it runs the command when it is asked to, and does nothing else.
 * It never meets an octet of the smart host or of a message.
 */
#ifndef PUSH_SECRET_H
#define PUSH_SECRET_H

#include "base/str.h"
#include <sys/types.h>

enum {
	SECRET_MAX = 65536,     /* octets that a command may print */
	SECRET_WORDS_MAX = 400, /* of what it says on standard error */
	SECRET_COMMAND_SECONDS = 30,
	SECRET_EXPIRES_MAX = 31 * 86400, /* seconds that a secret is kept at most */
	SECRET_MARGIN = 30,              /* a token that ends so soon is asked for anew */
};

struct secret {
	int fd; /* to the helper; -1: none */
	pid_t pid;
	int seconds; /* the command's time */
	const char *command;
	int64_t
	    ends; /* clock_ms() until which what it gave holds; 0: nothing was given */
	int64_t
	    until; /* the same as clock_real(); 0: it has not said how long it holds */
};
#define SECRET_INIT      \
	{                \
		.fd = -1 \
	}

/* Starts the helper for a command line for sh(1), which must outlive s, that may take so many
 * seconds (SECRET_COMMAND_SECONDS, but in tests), before the fence. 0 or -errno. */
int secret_start(struct secret *s, const char *command, int seconds);
/* Does what was given before still hold? */
bool secret_holds(const struct secret *s);
/* Runs the command, and puts what it gave into ret, which is wiped first. 0 also when
 * what is in ret still holds. Blocks for the command's time and a little; -ECANCELED as
 * soon as the peer of cancel_fd (-1: none) is gone. Else -errno, and ret_why says why for
 * people (escaped). On 0 ret_why is what the command said on standard error, often nothing. */
int secret_get(struct secret *s, int cancel_fd, struct buf *ret, struct buf *ret_why);
/* Appends secret, which was given, as a word for the next run: printable ASCII without blanks
 * and semicolons; nothing when it does not hold, or the command did not say how long. Like a
 * ticket of TLS it is for memory, not for disks and logs. */
void secret_print(const struct secret *s, struct str secret, struct buf *b);
/* Takes it back, if it still holds and is of the same command: then ret is the secret, and
 * secret_get() leaves it at that. False, and ret empty: it is nothing; the word may be hostile. */
bool secret_recall(struct secret *s, struct str word, struct buf *ret);
/* What was given is worth nothing any more. */
void secret_forget(struct secret *s);
/* Ends the helper, and a command that it runs. Fine when there is none. */
void secret_stop(struct secret *s);

/* Takes what a command printed apart: the first line is the secret; a later line
 * "expires=SECONDS" says how long it holds (*ret_seconds; untouched when there is none).
 * False: there is no secret. */
bool secret_parse(struct str printed, struct str *ret, uint64_t *ret_seconds);

#endif
