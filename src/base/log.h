/* The log: one line for each record, on standard error.
 *
 *	log_info("cycle closed", "run", log_number(run->id), "state", "DONE");
 *
 * A message that is always the same words, then pairs of key and value; all of
 * them strings (the compiler looks), a pair whose value is NULL is left out.
 * Written as key=value (logfmt) or as JSON; on a terminal in a shorter form.
 * Whatever the values hold, a record is one line of at most LOG_LINE bytes: what
 * is longer is cut, and says so ("cut").  A log that cannot be written, or that
 * nobody reads, is no reason to stop or to wait: the line is lost, and how many
 * were is said when it can be written again. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#define LOG_LINE 8192

enum log_level { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG };
enum log_format { LOG_AUTO, LOG_LOGFMT, LOG_JSON };	/* auto: for people on a terminal, else logfmt */
extern const char *const log_level_names[], *const log_format_names[];	/* end in NULL */

/* Before this: level info, format auto, standard error. */
void log_setup(enum log_level, enum log_format, int fd);
bool log_wants(enum log_level);

#define log_error(...) log_line(LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LEVEL_DEBUG, __VA_ARGS__)

/* Message, key, value, key, value ...; a NULL at the end is welcome, and not
 * needed. */
#define log_line(level, ...) \
	log_write(level, (const char *const []){ __VA_ARGS__, NULL, NULL })
void log_write(enum log_level, const char *const *texts);

/* A number as a value; it lives as long as the block it is written in. */
#define log_number(n) log_format_number((char [24]){ 0 }, n)
const char *log_format_number(char buf[24], int64_t);

/* Never let VALUE be seen: wherever it stands in a record, plain, percent-encoded
 * or behind backslashes, "***" is written.  Copied.  What is shorter than four
 * bytes would blot out too much, and is let pass. */
void log_secret(const char *value);
/* The same filter for what is printed elsewhere.  The caller frees. */
char *log_redact(const char *text);

#endif
