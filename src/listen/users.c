#include "listen/users.h"
#include "base/clock.h"
#include "base/io.h"
#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The answers, one octet. */
#define YES '0'
#define NO '1'
#define UNKNOWN '2'
#define ENOUGH '3'

/* The hash of user, or else any hash of the file (*ret_found false). */
static struct str find_hash(struct str text, struct str user, bool *ret_found)
{
	struct str any = STR_NONE, line;

	*ret_found = false;
	while (str_cut(&text, '\n', &line)) {
		struct str rest = str_trim(line), name, hash;

		if (!rest.n || rest.p[0] == '#' || !str_cut(&rest, ':', &name) || !rest.p)
			continue;
		str_cut(&rest, ':', &hash);
		if (!any.n)
			any = hash;
		if (!str_eq(name, user))
			continue;
		*ret_found = true;
		return hash;
	}
	return any;
}

/* In a time that does not tell how much of it is right. */
static bool same(const char *a, struct str b)
{
	unsigned char diff = 0;

	if (strlen(a) != b.n)
		return false;
	for (size_t i = 0; i < b.n; i++)
		diff |= (unsigned char)(a[i] ^ b.p[i]);
	return diff == 0;
}

bool users_match(struct str text, struct str user, struct str password)
{
	bool found, ok = false;
	struct str hash = find_hash(text, user, &found);
	char *h = str_dup(hash), *p = str_dup(password);
	const char *made = crypt(p, h);

	/* "*", "!" and the like lock a user out; crypt(3) fails with such a text, too. */
	if (made && made[0] != '*' && hash.n && strlen(h) == hash.n &&
	    strlen(p) == password.n)
		ok = same(made, hash) && found;
	explicit_bzero(p, password.n);
	explicit_bzero(h, hash.n);
	free(p);
	free(h);
	return ok;
}

int users_open(const char *path, struct buf *ret_why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), e;
	struct stat st;

	if (fd < 0) {
		e = -errno;
		buf_fmt(ret_why, "users-file %s cannot be opened: %s", path,
		        strerror(-e));
		return e;
	}
	if (fstat(fd, &st) < 0) {
		e = -errno;
		buf_fmt(ret_why, "users-file %s: %s", path, strerror(-e));
	} else if (!S_ISREG(st.st_mode)) {
		e = -EINVAL;
		buf_fmt(ret_why, "users-file %s is no regular file", path);
	} else if (st.st_mode & 07) {
		e = -EPERM;
		buf_fmt(ret_why, "users-file %s can be read by everyone; chmod 640 %s",
		        path, path);
	} else {
		return fd;
	}
	close(fd);
	return e;
}

/* ---- the helper ---- */

static void wipe(struct buf *b)
{
	if (b->cap)
		explicit_bzero(b->p, b->cap);
	buf_free(b);
}

static char answer_to(int file, struct str question)
{
	struct buf text = BUF_INIT; /* wiped below */
	struct str password = question, user;
	struct stat st;
	char answer = UNKNOWN;

	/* Room at once: growing would leave hashes behind. */
	if (file >= 0 && fstat(file, &st) == 0 && st.st_size <= USERS_MAX) {
		buf_room(&text, (size_t)st.st_size + 65536);
		if (lseek(file, 0, SEEK_SET) == 0 &&
		    io_slurp(file, &text, USERS_MAX) == 0)
			answer = NO;
	}
	if (answer == NO && str_cut(&password, '\0', &user) && password.p &&
	    users_match(buf_view(&text), user, password))
		answer = YES;
	wipe(&text);
	return answer;
}

static ssize_t next_question(int fd, char *to, size_t n)
{
	ssize_t r;

	do
		r = recv(fd, to, n, 0);
	while (r < 0 && errno == EINTR);
	return r;
}

/* A refusal takes a multiple of delay_ms, so that it does not tell of the hash: whether there is
 * one, and of which kind. */
static void pause_until_even(int64_t begun, int delay_ms)
{
	if (delay_ms > 0)
		(void)poll(NULL, 0, delay_ms - (int)((clock_ms() - begun) % delay_ms));
}

struct users_guesses users_guesses_new(void)
{
	struct users_guesses g = { .all = tally_new(USERS_GUESSES_ALL) };

	if (getrandom(g.key, sizeof(g.key), 0) == (ssize_t)sizeof(g.key))
		g.name = tally_new(USERS_GUESSES);
	return g;
}

void users_guesses_close(struct users_guesses g)
{
	tally_close(g.name);
	tally_close(g.all);
}

/* A client as the user that it says it is. */
static struct slots_client as_user(const struct users_client *c, struct str question)
{
	const uint64_t client[2] = { (uint64_t)c->who.family, c->who.who };
	_cleanup_buf_ struct buf b = BUF_SMALL;
	unsigned char mac[32]; /* SHA-256 */
	struct slots_client as = { .family = 0 };
	struct str name;

	str_cut(&question, '\0', &name);
	buf_add(&b, client, sizeof(client));
	buf_str(&b, name);
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, c->guesses.key, sizeof(c->guesses.key),
	                     b.p, b.n, mac) == 0)
		memcpy(&as.who, mac, sizeof(as.who));
	return as;
}

/* The same for a client that may not have guessed enough. */
static char answer_client(int file, struct str question,
                          const struct users_client *client)
{
	const struct slots_client user = as_user(client, question);
	char answer;

	if (tally_full(client->guesses.name, &user, clock_ms() / 1000) ||
	    tally_full(client->guesses.all, &client->who, clock_ms() / 1000))
		return ENOUGH;
	answer = answer_to(file, question);
	if (answer == NO) {
		(void)tally_add(client->guesses.name, &user, clock_ms() / 1000);
		(void)tally_add(client->guesses.all, &client->who, clock_ms() / 1000);
	}
	return answer;
}

void users_serve(int fd, int file, unsigned attempts, int delay_ms,
                 const struct users_client *client)
{
	char question[USERS_PAIR_MAX];
	ssize_t n;

	while (attempts && (n = next_question(fd, question, sizeof(question))) > 0) {
		int64_t begun = clock_ms();
		char answer =
		    answer_client(file, (struct str){ question, (size_t)n }, client);

		explicit_bzero(question, (size_t)n);
		if (answer == NO || answer == ENOUGH) {
			attempts--;
			pause_until_even(begun, delay_ms);
		}
		if (send(fd, &answer, 1, MSG_NOSIGNAL) < 0)
			return;
	}
}

/* ---- the session's side ---- */

int users_ask(int fd, struct str user, struct str password)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct buf question = BUF_INIT; /* wiped below */
	int64_t end = clock_ms() + USERS_ASK_MS;
	char answer = UNKNOWN;
	bool sent;

	if (user.n + password.n + 1 > USERS_PAIR_MAX)
		return 535;
	buf_room(&question, USERS_PAIR_MAX);
	buf_str(&question, user);
	buf_c(&question, '\0');
	buf_str(&question, password);
	sent = send(fd, question.p, question.n, MSG_NOSIGNAL) == (ssize_t)question.n;
	wipe(&question);
	while (sent) {
		int64_t left = end - clock_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);

		if (n > 0 || (n < 0 && errno != EINTR) || clock_ms() >= end)
			break;
	}
	/* The answer to this question: one that comes late must not answer the next. */
	if (!sent || recv(fd, &answer, 1, MSG_DONTWAIT) != 1) {
		(void)shutdown(fd, SHUT_RDWR);
		return 454;
	}
	switch (answer) {
	case YES:
		return 0;
	case NO:
		return 535;
	case ENOUGH:
		return 450;
	default:
		return 454;
	}
}
