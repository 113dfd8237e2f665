/* Commands: one file each, one struct each.
 *
 * main.c finds the command, opts.c reads its arguments, start.c its settings;
 * then RUN does the work.  Only these and main.c print and exit. */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct conf;
struct err;
struct setting;

struct opt {
	const char *name;		/* "max-age" */
	char letter;			/* 0: none */
	const char *value;		/* "SPAN"; NULL: a switch */
	const char *help;
};

struct given {
	const struct opt *opt;
	const char *value;
};

struct flag {
	const struct setting *setting;
	const char *value;
};

struct call {
	const struct command *command;
	struct conf *conf;
	const char **arguments;		/* what is no option, NULL at the end */
	size_t n_arguments;
	struct given *given;
	size_t n_given;
	struct flag *flags;		/* settings given as options */
	size_t n_flags;
};

struct command {
	const char *name;
	const char *synopsis;		/* "FILE... [--dry-run]" */
	const char *summary;		/* one line, in the list of commands */
	const char *description;	/* some lines, in its own help */
	size_t least, most;		/* arguments */
	const struct opt *options;	/* ends with a NULL name */
	/* The exit status, or -1 with ERR. */
	int (*run)(struct call *, struct err *);
	/* May be NULL: tells of the ERR of run() or of the arguments itself, and
	 * is the exit status; -1: it does not. */
	int (*failed)(int argc, char **argv, const struct err *);
};

extern const struct command cmd_call, cmd_check, cmd_cycle, cmd_doctor, cmd_eval, cmd_explain, cmd_graph,
    cmd_init, cmd_inspect, cmd_load, cmd_prune, cmd_settings, cmd_show, cmd_status,
    cmd_worker;
extern const struct command *const commands[];	/* NULL at the end */

enum { ARGUMENTS_MANY = 100000 };

/* Read the arguments behind the command's name, and the settings: file, then
 * environment, then flags.  1: help was asked for and printed. */
int opts_read(struct call *, int argc, char **argv, struct err *);
void opts_done(struct call *);
/* The settings, read anew from all their sources; NULL with ERR. */
struct conf *opts_read_settings(const struct call *, struct err *);

/* The last value given for an option, "" for a switch, NULL if not given. */
const char *opts_get(const struct call *, const char *name);
bool opts_has(const struct call *, const char *name);
/* The I-th value of a repeated option, or NULL. */
const char *opts_nth(const struct call *, const char *name, size_t i);

void help_command(const struct command *, FILE *);
void help_all(FILE *);

/* The settings from the file and the environment (start.c). CONFIG: --config. */
int start_settings(struct conf *, const char *config, struct err *);

#endif
