/* main.c - which command it is, and how it ended. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <locale.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include "base/conf.h"
#include "base/err.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cmd.h"
#include "cli/exec_step.h"

const struct command *const commands[] = { &cmd_init, &cmd_check, &cmd_load, &cmd_eval,
	&cmd_cycle, &cmd_worker, &cmd_status, &cmd_show, &cmd_explain, &cmd_graph, &cmd_prune,
	&cmd_call, &cmd_inspect, &cmd_doctor,
	&cmd_settings, NULL };

static void
complain(const char *who, const struct err *err)
{
	char *text = log_redact(err->message);
	struct str line = STR_INIT;

	str_visible(&line, text);
	if (err->line)
		fprintf(stderr, "tocsin%s%s: %d:%d: %s\n", *who ? " " : "", who, err->line,
		    err->column, str_text(&line));
	else
		fprintf(stderr, "tocsin%s%s: %s\n", *who ? " " : "", who, str_text(&line));
	str_done(&line);
	free(text);
}

/* What was printed must have arrived; RC otherwise becomes a failure. */
static int
flush_output(int rc)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return rc;
	fprintf(stderr, "tocsin: cannot write to standard output%s%s\n", errno ? ": " : "",
	    errno ? strerror(errno) : "");
	return rc ? rc : 1;
}

/* A standard stream that is closed would become the number of the next file or
 * socket, and what is printed would go there. */
static void
hold_standard_streams(void)
{
	static const int modes[] = { O_WRONLY, O_RDONLY, O_RDWR };

	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", modes[fd]);
}

static void *
crypto_malloc(size_t n, const char *file, int line)
{
	return n ? xmalloc(n) : NULL;
}

static void *
crypto_realloc(void *p, size_t n, const char *file, int line)
{
	if (n)
		return xrealloc(p, n);
	free(p);
	return NULL;
}

static void
crypto_free(void *p, const char *file, int line)
{
	free(p);
}

/* jansson's NULL would be taken for what is not there, libuv would abort(), and
 * libcrypto would refuse for no reason that it could name. */
static void
end_where_memory_ends(void)
{
	json_set_alloc_funcs(xmalloc, free);
	uv_replace_allocator(xmalloc, xrealloc, xcalloc, free);
	CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free);
}

static const struct command *
find_command(const char *name, struct err *err)
{
	const char *names[32], *near;
	size_t n = 0;

	for (const struct command *const *c = commands; *c; c++) {
		if (!strcmp((*c)->name, name))
			return *c;
		names[n++] = (*c)->name;
	}
	near = str_nearest(name, names, n);
	err_class(err, ERR_USAGE, "there is no command '%.200s'; %s%s%s", name,
	    near ? "did you mean '" : "'tocsin --help' lists them", near ? near : "",
	    near ? "'?" : "");
	return NULL;
}

static int
run_command(const struct command *command, int argc, char **argv)
{
	struct call call = { .command = command };
	struct err err = { .class = ERR_GIVEN };
	int rc = opts_read(&call, argc, argv, &err);

	if (!rc) {
		log_setup((enum log_level)call.conf->log_level,
		    (enum log_format)call.conf->log_format, 2);
		rc = command->run(&call, &err);
	} else if (rc > 0)
		rc = 0;			/* its help was printed */
	if (rc < 0 && command->failed)
		rc = command->failed(argc, argv, &err);
	if (rc < 0) {
		fflush(stdout);
		complain(command->name, &err);
		rc = (int)err.class;
	}
	opts_done(&call);
	return flush_output(rc);
}

int
main(int argc, char **argv)
{
	const struct command *command;
	struct err err;

	if (exec_step_is(argc, argv))
		return exec_step(argc, argv);
	hold_standard_streams();
	end_where_memory_ends();
	setlocale(LC_CTYPE, "C.UTF-8");
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		help_all(stderr);
		return ERR_USAGE;
	}
	if (!strcmp(argv[1], "__failpoints"))
		return flush_output(failpoint_list());
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		printf("tocsin %s\n", PACKAGE_VERSION);
		return flush_output(0);
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		if (argc < 3) {
			help_all(stdout);
			return flush_output(0);
		}
		if (!(command = find_command(argv[2], &err))) {
			complain("", &err);
			return ERR_USAGE;
		}
		help_command(command, stdout);
		return flush_output(0);
	}
	if (!(command = find_command(argv[1], &err))) {
		complain("", &err);
		return ERR_USAGE;
	}
	return run_command(command, argc - 2, argv + 2);
}
