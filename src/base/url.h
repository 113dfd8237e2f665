/* Passwords in the addresses of servers. */
#ifndef BASE_URL_H
#define BASE_URL_H

/* ADDRESS (a URL, or libpq's "host=... password=...") with "***" for every
 * password in it; the caller frees.  Each password is handed to SEEN, as it
 * stands there and without its quoting; SEEN may be NULL.  In doubt more is
 * hidden than need be, never less. */
char *url_hide(const char *address, void (*seen)(const char *password));

#endif
