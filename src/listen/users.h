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
#include "listen/tally.h"

enum {
	USERS_MAX = 1 << 20,   /* octets of the file */
	USERS_ATTEMPTS = 5,    /* questions that a helper answers with no */
	USERS_DELAY_MS = 1000, /* such an answer takes this, or a multiple of it */
	USERS_ASK_MS = 30000,  /* for an answer */
	USERS_PAIR_MAX = 2 * 1024 + 1,
	/* Wrong passwords of a client within a minute: for one name, and in all. So a device with
	 * an old password does not keep out others behind the same address. */
	USERS_GUESSES = 10,
	USERS_GUESSES_ALL = 50,
};

/* Is it this user's password, by the text of a users-file? Takes as long for a name that is
 * not there. user and password are hostile; without NUL. */
bool users_match(struct str text, struct str user, struct str password);

/* Opens the file: regular, closed to others. Descriptor, or -errno with words in ret_why. */
int users_open(const char *path, struct buf *ret_why);

/* Where wrong passwords are counted; NULL: they are not. The key: nobody can choose a name that
 * counts as another client's. */
struct users_guesses {
	struct tally *name, *all;
	unsigned char key[16];
};
struct users_guesses users_guesses_new(void);
void users_guesses_close(struct users_guesses g); /* for this process alone */

/* Whose guesses are counted where. */
struct users_client {
	struct users_guesses guesses;
	struct slots_client who;
};

/* The helper: answers on fd (SOCK_SEQPACKET) until the other end is closed, or attempts were
 * wrong. file: as users_open() gave it, read anew each time; < 0: no question can be
 * answered. A client that has guessed enough gets no answer but that, as slowly.
 * Blocks. */
void users_serve(int fd, int file, unsigned attempts, int delay_ms,
                 const struct users_client *client);

/* Asks the helper. 0: it is the password; 535: it is not; 450: this client has guessed enough
 * for now; 454: no answer in USERS_ASK_MS, or it cannot tell. */
int users_ask(int fd, struct str user, struct str password);

#endif
