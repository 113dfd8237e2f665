/* standalone.c - runs a fuzzer without libFuzzer, so that any compiler will do.
 *
 * usage: expr_fuzz [--seed N] [--runs N] FILE|DIRECTORY...
 *
 * Every file is run as it is; then N random mutations of them.  A run depends
 * on the seed and its number alone.  The input of a run that dies is written
 * to crash-SEED-RUN in the current directory, which can be given as a FILE. */
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

#define LARGEST (128 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
void __sanitizer_set_death_callback(void (*)(void)) __attribute__((weak));

static VEC(struct str) corpus;
static struct str input;
static uint64_t seed, run, state;

/* xorshift64*, which is the same everywhere. */
static size_t
below(size_t n)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return n ? (size_t)((state * 0x2545f4914f6cdd1d) >> 11) % n : 0;
}

static void
keep_crash(void)
{
	char path[80];
	FILE *f;

	snprintf(path, sizeof path, "crash-%llu-%llu", (unsigned long long)seed,
	    (unsigned long long)run);
	f = fopen(path, "w");
	if (f) {
		fwrite(str_text(&input), 1, input.len, f);
		fclose(f);
	}
	fprintf(stderr, "standalone: run %llu of --seed %llu died; its input is in %s\n",
	    (unsigned long long)run, (unsigned long long)seed, path);
}

static void
on_signal(int signo)
{
	keep_crash();
	signal(signo, SIG_DFL);
	raise(signo);
}

static void
read_file(const char *path)
{
	struct str s = STR_INIT;
	char buf[4096];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f) {
		perror(path);
		exit(2);
	}
	while ((n = fread(buf, 1, sizeof buf, f)) > 0)
		str_add(&s, buf, n);
	fclose(f);
	vec_push(&corpus, s);
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
read_path(const char *path)
{
	struct dirent **entries;
	struct stat st;
	int n;

	if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
		read_file(path);
		return;
	}
	n = scandir(path, &entries, NULL, by_name);
	for (int i = 0; i < n; i++) {
		char *file = xasprintf("%s/%s", path, entries[i]->d_name);

		if (entries[i]->d_name[0] != '.')
			read_file(file);
		free(file);
		free(entries[i]);
	}
	free(entries);
}

/* Bytes FROM .. FROM + CUT of the input become N bytes at WITH. */
static void
replace(size_t from, size_t cut, const char *with, size_t n)
{
	struct str s = STR_INIT;

	str_add(&s, str_text(&input), from);
	str_add(&s, with, n);
	str_add(&s, str_text(&input) + from + cut, input.len - from - cut);
	str_done(&input);
	input = s;
}

static void
mutate(void)
{
	static const char *const words[] = { "(", ")", "[", "]", "{", "}", "\"", "'", "\\",
		"\n", "#", "0", "-1", "9223372036854775807", "1e308", "null", "true", "\xc3\xa9",
		"\xf0\x9f\x94\x94", "\xff", "\x1b", "=", "==", ".", ",", ":", "*", "**", "/" };
	size_t at = below(input.len + 1), n = below(input.len - at + 1);
	const struct str *other = &corpus.at[below(corpus.n)];
	const char *word = words[below(sizeof words / sizeof words[0])];
	size_t from = below(other->len + 1), part = below(other->len - from + 1);
	char c = (char)below(256);

	if (n > 64)
		n = below(64);
	switch (below(7)) {
	case 0:
		replace(at, at < input.len, &c, 1);
		break;
	case 1:
		replace(at, 0, &c, 1);
		break;
	case 2:
		replace(at, n, "", 0);
		break;
	case 3: case 4:
		replace(at, 0, word, strlen(word));
		break;
	case 5:			/* a piece of another */
		replace(at, below(2) ? n : 0, str_text(other) + from, part);
		break;
	default: {		/* a piece of itself, many times */
		char *piece = xstrndup(str_text(&input) + at, n);

		for (size_t times = below(200); times && input.len < LARGEST; times--)
			replace(at, 0, piece, strlen(piece));
		free(piece);
	}
	}
}

static void
run_once(void)
{
	/* In memory of its exact size: reading beyond it is seen. */
	uint8_t *data = xmalloc(input.len);

	memcpy(data, str_text(&input), input.len);
	LLVMFuzzerTestOneInput(data, input.len);
	free(data);
}

static void
run_corpus(void)
{
	for (run = 0; run < corpus.n; run++) {
		str_clear(&input);
		str_add(&input, str_text(&corpus.at[run]), corpus.at[run].len);
		run_once();
	}
}

static void
run_mutations(uint64_t runs)
{
	for (run = 0; run < runs && corpus.n; run++) {
		const struct str *from;

		state = (seed + 1) * 0x9e3779b97f4a7c15 ^ (run + 1) * 0xbf58476d1ce4e5b9;
		below(1);
		from = &corpus.at[below(corpus.n)];
		str_clear(&input);
		str_add(&input, str_text(from), from->len);
		for (size_t times = 1 + below(6); times && input.len < LARGEST; times--)
			mutate();
		run_once();
	}
}

int
main(int argc, char **argv)
{
	uint64_t runs = 0;
	int i;

	seed = (uint64_t)time(NULL);
	for (i = 1; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2)
		if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--runs"))
			runs = strtoull(argv[i + 1], NULL, 10);
	for (; i < argc; i++)
		read_path(argv[i]);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(keep_crash);
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	run_corpus();
	run_mutations(runs);
	printf("%s: %zu files, %llu mutations of --seed %llu\n", argv[0], corpus.n,
	    (unsigned long long)runs, (unsigned long long)seed);
	for (size_t k = 0; k < corpus.n; k++)
		str_done(&corpus.at[k]);
	vec_done(&corpus);
	str_done(&input);
	return 0;
}
