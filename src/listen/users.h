/*
 * users.h - logins: the users-file, and the process that alone may read it
 *
 * The session parses a client's bytes and never sees a hash: it asks a helper over a socket
 * pair, which answers yes or no, a few times and slowly.
 * The file: lines "name:hash", hash as of crypt(5); more fields behind another ":" are passed
 * over, as are empty lines and those that begin with "#". The first line of a name counts.
 */
#ifndef LISTEN_USERS_H
#define LISTEN_USERS_H

#include "base/str.h"
#include "listen/guess.h"

enum {
	USERS_MAX = 1 << 20,   /* octets of the file */
	USERS_ATTEMPTS = 5,    /* questions that a helper answers with no */
	USERS_DELAY_MS = 1000, /* such an answer takes this, or a multiple of it */
	USERS_ASK_MS = 30000,  /* for an answer */
	USERS_PAIR_MAX = 2 * 1024 + 1,
};

/* Is it this user's password, by the text of a users-file? Takes as long for a name that is
 * not there. user and password are hostile; without NUL. */
bool users_match(struct str text, struct str user, struct str password);

/* Opens the file: regular, closed to others. Descriptor, or -errno with words in ret_why. */
int users_open(const char *path, struct buf *ret_why);

/* Whose guesses are counted where; guesses NULL: nobody's. */
struct users_client {
	struct guesses *guesses;
	struct slots_client who;
};

/* The helper: answers on fd (SOCK_SEQPACKET) until the other end is closed, or attempts were
 * wrong. file: as users_open() gave it, read anew each time; < 0: no question can be
 * answered. A client that has guessed enough (guess.h) gets no answer but that, as slowly.
 * Blocks. */
void users_serve(int fd, int file, unsigned attempts, int delay_ms,
                 const struct users_client *client);

/* Asks the helper. 0: it is the password; 535: it is not; 450: this client has guessed enough
 * for now; 454: no answer in USERS_ASK_MS, or it cannot tell. */
int users_ask(int fd, struct str user, struct str password);

#endif
