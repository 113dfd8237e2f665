/* fail_malloc.c - the n-th allocation of a program fails.
 *
 * Preloaded (LD_PRELOAD) it stands before the allocator of libc, for the program
 * and all its libraries.  FAIL_MALLOC_COUNT names a file of eight bytes in which
 * the allocations are counted, where it can be read however the program ends;
 * FAIL_MALLOC_AT says which of them fails, and with FAIL_MALLOC_EVER set so do
 * all after it.  What it starts inherits no such environment, so it is spared; and
 * so is a look for the name of a user, in which glibc itself dies. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t),
    *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

static _Atomic uint64_t *count;
static uint64_t at;
static bool ever;
static _Thread_local bool spared;

__attribute__((constructor)) static void
begin(void)
{
	const char *file = getenv("FAIL_MALLOC_COUNT"), *n = getenv("FAIL_MALLOC_AT");
	int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED :
	    mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	at = n ? strtoull(n, NULL, 10) : 0;
	ever = getenv("FAIL_MALLOC_EVER");
	count = map == MAP_FAILED ? NULL : map;
}

static bool
fails(void)
{
	uint64_t n;

	if (!count || spared)
		return false;
	n = atomic_fetch_add(count, 1) + 1;
	if (!at || (ever ? n < at : n != at))
		return false;
	errno = ENOMEM;
	return true;
}

void *
malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}

void *
reallocarray(void *p, size_t n, size_t size)
{
	size_t all;

	if (__builtin_mul_overflow(n, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, all);
}

void *
aligned_alloc(size_t align, size_t n)
{
	return fails() ? NULL : __libc_memalign(align, n);
}

int
posix_memalign(void **to, size_t align, size_t n)
{
	void *p = aligned_alloc(align, n);

	if (!p)
		return ENOMEM;
	*to = p;
	return 0;
}

/* It does not doubt that its table of name services could be made. */
struct passwd *
getpwuid(uid_t uid)
{
	struct passwd *(*real)(uid_t), *found;

	*(void **)&real = dlsym(RTLD_NEXT, "getpwuid");
	spared = true;
	found = real(uid);
	spared = false;
	return found;
}
