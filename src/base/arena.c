/* arena.c - blocks of memory in a list, each twice as large as the last.
 *
 * Under the address sanitizer every allocation is a block of its own, so that
 * reaching beyond one is seen. */
#include "base/arena.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"

#define ALIGN 16
#define FIRST_BLOCK 1024
#define LARGEST_BLOCK (256 * 1024)

#if defined(__SANITIZE_ADDRESS__)
#define ALONE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALONE 1
#endif
#endif

struct arena_block {
	struct arena_block *older;
	_Alignas(ALIGN) char room[];
};

static void *
add_block(struct arena *a, size_t n)
{
	struct arena_block *b = xmalloc(sizeof *b + n);

	b->older = a->blocks;
	a->blocks = b;
	return b->room;
}

void
arena_init(struct arena *a, void *buf, size_t n)
{
	size_t skip = -(uintptr_t)buf % ALIGN;

	*a = (struct arena){ 0 };
#ifndef ALONE
	if (n > skip) {
		a->at = (char *)buf + skip;
		a->end = (char *)buf + n;
	}
#else
	(void)skip;
#endif
}

void
arena_done(struct arena *a)
{
	struct arena_block *b, *older;

	for (b = a->blocks; b; b = older) {
		older = b->older;
		free(b);
	}
	*a = (struct arena){ 0 };
}

void *
arena_alloc(struct arena *a, size_t n)
{
	char *p;

#ifdef ALONE
	return add_block(a, n);
#endif
	n = (n + ALIGN - 1) / ALIGN * ALIGN;
	if (n > (size_t)(a->end - a->at)) {
		if (!a->next)
			a->next = FIRST_BLOCK;
		if (n > a->next / 2)
			return add_block(a, n);	/* and go on in the old one */
		a->at = add_block(a, a->next);
		a->end = a->at + a->next;
		if (a->next < LARGEST_BLOCK)
			a->next *= 2;
	}
	p = a->at;
	a->at += n;
	return p;
}

char *
arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *copy = arena_alloc(a, n + 1);

	if (n)
		memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}
