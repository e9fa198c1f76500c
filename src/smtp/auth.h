/*
 * auth.h - SASL mechanisms, the client's side (RFC 4954)
 *
 * Pure: no connection, no clock. Every challenge is hostile, and at most REPLY_MAX octets.
 */
#ifndef SMTP_AUTH_H
#define SMTP_AUTH_H

#include "base/str.h"

enum {
	AUTH_ROUNDS_MAX = 4, /* challenges of one login that are answered */
	/* RFC 5802 5.1: fewer would let who reads the login guess the password cheaply; more
	 * would make us work for minutes. */
	AUTH_ITERATIONS_MIN = 4096,
	AUTH_ITERATIONS_MAX = 600000,
	AUTH_DIGEST_MAX = 32,
};

/* Who we are. */
struct auth_creds {
	struct str user, password; /* or an access token in place of the password */
	struct str host;           /* for OAUTHBEARER; n == 0: not said */
	unsigned port;             /* the same; 0: not said */
	/* Channel binding (RFC 5056): "tls-exporter" or "tls-unique", and its octets. n == 0:
	 * there is none. */
	struct str binding_name, binding;
	bool plus;        /* the host offers a mechanism with channel binding */
	struct str nonce; /* for tests; n == 0: random */
};

/* What there is to prove it with. */
enum auth_proof { AUTH_PASSWORD, AUTH_TOKEN, AUTH_CERTIFICATE };

struct auth_mech;

/* One login. */
struct auth {
	const struct auth_mech *mech;
	const struct auth_creds *creds;
	unsigned step;
	bool proved;  /* the host was given what it can judge the password by */
	bool stopped; /* the host has said no in its challenge: cancel ("*"), it is why */
	const char *why; /* of a failure, a literal */
	struct buf
	    said; /* what the host said of it in a challenge, for people; not escaped */
	struct buf nonce,
	    first;     /* of SCRAM: our nonce; our first message without its head */
	bool verified; /* of SCRAM: the host has proved that it knows the password */
	unsigned char signature[AUTH_DIGEST_MAX]; /* which it must show for that */
};

struct auth_mech {
	const char *name; /* as in EHLO, upper case */
	const char *word; /* for the log, and in auth = "..." */
	/* In learned.h's record, so in files: never another's. */
	unsigned bit;
	enum auth_proof proof;
	bool plaintext;     /* shows the password to who listens */
	bool initial;       /* step 0 goes with the AUTH command */
	bool binding;       /* needs channel binding */
	bool mutual;        /* a->verified counts */
	const char *digest; /* "SHA-256" and so on; NULL: none */
	int (*answer)(struct auth *a, struct str challenge, struct buf *ret);
};

/* What may be chosen. */
struct auth_choice {
	struct str offered; /* EHLO's list, words parted by blanks; hostile */
	struct str only;    /* the one mechanism that may be used; empty or "auto": any */
	enum auth_proof proof;
	bool safe;     /* mechanisms that show the password may be used */
	bool verified; /* TLS, and the host is who it must be */
	bool binding;  /* there is channel binding */
	unsigned vain; /* the bits of those that are passed over */
};
/* The best mechanism behind after (NULL: of all); NULL: there is none. */
const struct auth_mech *auth_pick(const struct auth_choice *c,
                                  const struct auth_mech *after);
/* Is there one with channel binding among what is offered? */
bool auth_offers_binding(struct str offered);

/* Appends the words of the mechanisms with these bits, parted by commas. */
void auth_words(unsigned bits, struct buf *b);

/* Begins. mech and creds must outlive a. */
void auth_init(struct auth *a, const struct auth_mech *mech,
               const struct auth_creds *creds);
/* Appends the answer to the decoded challenge. 0; or a->why says why there is none: -EINVAL:
 * these credentials cannot be written in it; -EPROTO: the host does not keep to the mechanism,
 * or is not who it must be; -ECONNREFUSED: a->stopped. */
int auth_answer(struct auth *a, struct str challenge, struct buf *ret);
/* The host says that we are in. Is it who it must be? False: a->why. */
bool auth_accept(struct auth *a);
void auth_free(struct auth *a);

/* The mechanisms of auth_scram.c. */
int auth_scram(struct auth *a, struct str challenge, struct buf *ret);
/* Appends a name as in RFC 5801: "=" and "," as "=3D", "=2C". */
void auth_saslname(struct buf *b, struct str name);

/* Have text and secret so many octets in a row in common, or is all of a shorter secret in the
 * text? */
bool auth_shows(struct str text, struct str secret, size_t least);

/* Base64 (RFC 4648), one line. The decoder is strict: -EBADMSG. */
void auth_base64(struct buf *b, struct str s);
int auth_unbase64(struct buf *b, struct str s);
/* Frees a buffer that held a secret: wiped before. Growing leaves copies behind, so give
 * it buf_room() for all first. */
void auth_wipe(struct buf *b);

#endif
