/* tls.c - OpenSSL between two memory BIOs.
 *
 * What comes from the network is put into one BIO, what is for the network is
 * taken from the other; OpenSSL never sees the socket. */
#include "io/tls.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/mem.h"
#include "io/bytes.h"

enum {
	RECORD = 16384,			/* the most that TLS puts into one */
	AT_ONCE = 4 * RECORD,		/* encrypted ahead of the socket */
};

struct tls {
	SSL_CTX *context;
	SSL *ssl;
	BIO *in, *out;			/* of the SSL; it frees them */
	bool shaken;
};

static const char *
reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = code ? ERR_reason_error_string(code) : NULL;

	return text ? text : "no reason given";
}

static int
trust(struct tls *tls, const char *ca_file, struct err *err)
{
	if (!ca_file) {
		SSL_CTX_set_default_verify_paths(tls->context);
		return 0;
	}
	if (SSL_CTX_load_verify_locations(tls->context, ca_file, NULL) == 1)
		return 0;
	return err_class(err, ERR_CONFIG, "cannot use the CA file %s: %s", ca_file, reason());
}

/* Whom we want to talk to.  An address has no place in SNI. */
static int
expect(struct tls *tls, const char *host, struct err *err)
{
	unsigned char address[sizeof(struct in6_addr)];
	bool is_address = inet_pton(AF_INET, host, address) == 1 ||
	    inet_pton(AF_INET6, host, address) == 1;
	int rc;

	if (is_address)
		rc = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), host);
	else
		rc = SSL_set1_host(tls->ssl, host) &&
		    SSL_set_tlsext_host_name(tls->ssl, host);
	SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return rc == 1 ? 0 : err_class(err, ERR_CONFIG,
	    "TLS cannot verify the name %s: %s", host, reason());
}

struct tls *
tls_new(const char *host, const char *ca_file, bool insecure, struct err *err)
{
	struct tls *tls = xcalloc(1, sizeof *tls);

	ERR_clear_error();
	tls->context = SSL_CTX_new(TLS_client_method());
	if (!tls->context)
		mem_end();
	SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
	/* Then writing never waits for reading. */
	SSL_CTX_set_options(tls->context, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(tls->context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(tls->context, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	if (!insecure && trust(tls, ca_file, err))
		goto bad;
	tls->ssl = SSL_new(tls->context);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (!tls->ssl || !tls->in || !tls->out)
		mem_end();
	BIO_set_mem_eof_return(tls->in, -1);	/* empty is "not yet", not the end */
	BIO_set_mem_eof_return(tls->out, -1);
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	SSL_set_connect_state(tls->ssl);
	if (expect(tls, host, err))
		goto bad;
	return tls;
bad:
	tls_free(tls);
	return NULL;
}

void
tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	SSL_CTX_free(tls->context);
	free(tls);
}

void
tls_feed(struct tls *tls, const void *data, size_t n)
{
	if (BIO_write(tls->in, data, (int)n) != (int)n)
		mem_end();
}

int
tls_shake_hands(struct tls *tls, struct err *err)
{
	long verdict;
	int rc;

	if (tls->shaken)
		return 1;
	ERR_clear_error();
	rc = SSL_do_handshake(tls->ssl);
	if (rc == 1) {
		tls->shaken = true;
		return 1;
	}
	switch (SSL_get_error(tls->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	}
	verdict = SSL_get_verify_result(tls->ssl);
	if (verdict != X509_V_OK)
		return err_class(err, ERR_CONFIG, "its certificate is not accepted: %s",
		    X509_verify_cert_error_string(verdict));
	return err_class(err, ERR_TEMPFAIL, "TLS: %s", reason());
}

int
tls_decrypt(struct tls *tls, struct bytes *plain, struct err *err)
{
	for (;;) {
		int n;

		ERR_clear_error();
		n = SSL_read(tls->ssl, bytes_reserve(plain, RECORD), RECORD);
		if (n > 0) {
			bytes_commit(plain, (size_t)n);
			continue;
		}
		switch (SSL_get_error(tls->ssl, n)) {
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE:
			return 0;
		case SSL_ERROR_ZERO_RETURN:
			return 1;
		default:
			return err_class(err, ERR_TEMPFAIL, "TLS: %s", reason());
		}
	}
}

int
tls_encrypt(struct tls *tls, struct bytes *plain, struct bytes *cipher, struct err *err)
{
	size_t n = bytes_len(plain) < AT_ONCE ? bytes_len(plain) : AT_ONCE, waiting;

	if (tls->shaken && n) {
		ERR_clear_error();
		/* A memory BIO takes everything. */
		if (SSL_write(tls->ssl, bytes_at(plain), (int)n) != (int)n)
			return err_class(err, ERR_TEMPFAIL, "TLS: %s", reason());
		bytes_drop(plain, n);
	}
	waiting = BIO_ctrl_pending(tls->out);
	if (waiting && BIO_read(tls->out, bytes_reserve(cipher, waiting), (int)waiting) > 0)
		bytes_commit(cipher, waiting);
	return 0;
}
