/* Between the files of an AMQP connection: amqp.c has its life, amqp_login.c
 * its beginning, amqp_channel.c what is said on its channels, amqp_hear.c what
 * is heard there.  For nobody else. */
#ifndef IO_AMQP_INNER_H
#define IO_AMQP_INNER_H

#include "base/err.h"
#include "base/vec.h"
#include "io/amqp.h"
#include "io/amqp_frame.h"
#include "io/amqp_url.h"
#include "io/bytes.h"

enum channel_state { CHANNEL_CLOSED, CHANNEL_OPENING, CHANNEL_OPEN, CHANNEL_CLOSING };

struct channel {
	enum channel_state state;
	VEC(amqp_method_number_t) asked;	/* what waits for its answer */
	uint64_t published;		/* since confirms are wanted */
	/* A message that is coming in: its method, its header, its body. */
	enum { NO_MESSAGE, WANT_HEADER, WANT_BODY } incoming;
	struct bytes method, header, body;
	uint64_t missing;		/* of the body */
};

enum amqp_state {
	AMQP_DOWN,
	AMQP_CONNECTING,	/* up to connection.start */
	AMQP_TUNING,		/* up to connection.tune */
	AMQP_OPENING,		/* up to connection.open-ok */
	AMQP_PREPARING,		/* up to the open-ok of channel 1 */
	AMQP_READY,
	AMQP_CLOSING,		/* we have said goodbye */
};

struct amqp {
	struct loop *loop;
	struct amqp_url url;
	char *name, *ca_file;
	bool tls_insecure;
	span connect_timeout, wanted_heartbeat;
	size_t high_water, largest_body;
	const struct amqp_events *events;
	void *arg;

	enum amqp_state state;
	struct socket *socket;
	size_t frame_max;
	span heartbeat, last_in, last_out;
	bool blocked;
	struct timer *deadline, *beat, *soon;
	struct err doom;		/* told when SOON fires */
	bool doomed;
	struct channel channels[AMQP_CHANNELS + 1];	/* 0 is not used */
	amqp_pool_t pool;		/* of what is being decoded */
	int busy;
	bool freed;
};

#define AMQP_TELL(a, event, ...) do { \
	if ((a)->events->event) \
		(a)->events->event((a)->arg, ##__VA_ARGS__); \
} while (0)

/* Write a method; what does not fit into a frame dooms the connection. */
void amqp_say(struct amqp *, int channel, amqp_method_number_t, void *says);
/* End it: told now, or (safe within any call) in the next turn. */
void amqp_fail(struct amqp *, const struct err *);
void amqp_doom(struct amqp *, const struct err *);
int amqp_broken(struct err *, const char *what);	/* a rule of AMQP; -1 */
/* What the broker says, fit to be shown; the caller frees. */
char *amqp_text(amqp_bytes_t);

int amqp_take_start(struct amqp *, const amqp_connection_start_t *, struct err *);
int amqp_take_tune(struct amqp *, const amqp_connection_tune_t *, struct err *);
void amqp_start_heartbeats(struct amqp *);
void amqp_became_ready(struct amqp *);

/* A frame for channel N; -1 with ERR if it breaks the rules. */
int channel_take(struct amqp *, int n, const struct frame *, struct err *);
void channel_reset(struct channel *);	/* all of it is forgotten */
void channel_done(struct channel *);

#endif
