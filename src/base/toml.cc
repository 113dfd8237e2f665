/* toml.cc - toml++ behind a C face.
 *
 * The one file in C++.  No exception leaves it: what the parser throws becomes
 * a struct err, and memory that runs out ends the process as everywhere else.
 *
 * toml++ parses keys in a loop but frees its tables by recursion, so a key of
 * a million dots would end in a stack overflow.  check_depth() walks over the
 * text first, knowing just enough of TOML (strings, comments, brackets, dots)
 * to refuse such documents. */
/* toml++ has taken the word for its namespace; C sees a struct toml. */
#define toml toml_file
#include "base/toml.h"
#undef toml
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include <toml++/toml.h>

extern "C" {
#include "base/mem.h"
#include "base/str.h"
/* Of base/err.h, which has a field named class. */
int err_set(struct err *, const char *, ...) __attribute__((format(printf, 2, 3)));
int err_at(struct err *, int, int, const char *, ...) __attribute__((format(printf, 4, 5)));
}

struct toml_file {
	toml::table table;
	json_t *root = nullptr;
	std::string text;			/* without a byte order mark */
	std::vector<size_t> lines;		/* where each begins */

	~toml_file() { json_decref(root); }
};

/* --- what the parser would not survive --- */

/* The end of the string that begins at S[I]; len if there is none. */
static size_t
skip_string(const char *s, size_t i, size_t len)
{
	char quote = s[i];
	bool multi = i + 2 < len && s[i + 1] == quote && s[i + 2] == quote;

	for (i += multi ? 3 : 1; i < len; i++) {
		if (s[i] == '\\' && quote == '"')
			i++;
		else if (!multi && (s[i] == quote || s[i] == '\n'))
			return i + 1;
		else if (multi && s[i] == quote && i + 2 < len &&
		    s[i + 1] == quote && s[i + 2] == quote) {
			/* Up to two quotes may stand before the closing three. */
			for (i += 3; i < len && s[i] == quote; i++)
				;
			return i;
		}
	}
	return len;
}

/* Brackets and the dots of keys, each a level. */
static int
check_depth(const char *s, size_t len, struct err *err)
{
	int dots[TOML_MAX_DEPTH + 1] = { 0 }, open = 0, total = 0, line = 1;

	for (size_t i = 0; i < len; i++) {
		switch (s[i]) {
		case '"': case '\'': {
			size_t end = skip_string(s, i, len);

			line += (int)std::count(s + i, s + end, '\n');
			i = end - 1;
			break;
		}
		case '#':
			while (i + 1 < len && s[i + 1] != '\n')
				i++;
			break;
		case '\n':
			line++;
			if (open > 0)
				break;
			/* fall through */
		case ',':
			total -= dots[open];
			dots[open] = 0;
			break;
		case '.':
			dots[open]++;
			total++;
			break;
		case '[': case '{':
			total++;
			if (open < TOML_MAX_DEPTH)
				dots[++open] = 0;
			break;
		case ']': case '}':
			if (open > 0) {
				total -= 1 + dots[open];
				open--;
			}
			break;
		}
		if (total > TOML_MAX_DEPTH)
			return err_at(err, line, 1, "more than %d levels deep", TOML_MAX_DEPTH);
	}
	return 0;
}

/* --- toml++'s tree as JSON --- */

static std::string
text_of(const toml::date &d)
{
	char buf[32];

	snprintf(buf, sizeof buf, "%04d-%02d-%02d", d.year, d.month, d.day);
	return buf;
}

static std::string
text_of(const toml::time &t)
{
	char buf[32];
	int n = snprintf(buf, sizeof buf, "%02d:%02d:%02d", t.hour, t.minute, t.second);

	if (t.nanosecond % 1000)
		snprintf(buf + n, sizeof buf - n, ".%09u", (unsigned)t.nanosecond);
	else if (t.nanosecond)
		snprintf(buf + n, sizeof buf - n, ".%06u", (unsigned)t.nanosecond / 1000);
	return buf;
}

static std::string
text_of(const toml::date_time &dt)
{
	std::string text = text_of(dt.date) + "T" + text_of(dt.time);
	char buf[16];
	int minutes;

	if (!dt.offset)
		return text;
	if ((minutes = dt.offset->minutes) == 0)
		return text + "Z";
	snprintf(buf, sizeof buf, "%c%02d:%02d", minutes < 0 ? '-' : '+',
	    abs(minutes) / 60 % 100, abs(minutes) % 60);
	return text + buf;
}

static json_t *
json_text(const std::string &s)
{
	return s.find('\0') == std::string::npos ? json_stringn(s.data(), s.size()) : nullptr;
}

static int
fault(const toml::source_region &at, struct err *err, const char *message)
{
	return err_at(err, (int)at.begin.line, (int)at.begin.column, "%s", message);
}

static json_t *tree(const toml::node &, int depth, struct err *);

/* toml++ keeps a table by name; the file's order is that of the keys' places. */
static json_t *
object(const toml::table &table, int depth, struct err *err)
{
	std::vector<std::pair<const toml::key *, const toml::node *>> members;
	json_t *o = json_object();

	members.reserve(table.size());
	for (auto &&[key, value] : table)
		members.emplace_back(&key, &value);
	std::sort(members.begin(), members.end(), [](const auto &a, const auto &b) {
		return a.first->source().begin < b.first->source().begin;
	});
	for (const auto &[key, value] : members) {
		json_t *member;

		if (memchr(key->data(), '\0', key->length())) {
			fault(key->source(), err, "a key with the character \\u0000");
			goto fail;
		}
		if (!(member = tree(*value, depth + 1, err)))
			goto fail;
		json_object_setn_new(o, key->data(), key->length(), member);
	}
	return o;
fail:
	json_decref(o);
	return nullptr;
}

static json_t *
array(const toml::array &elements, int depth, struct err *err)
{
	json_t *a = json_array();

	for (auto &&element : elements) {
		json_t *member = tree(element, depth + 1, err);

		if (!member) {
			json_decref(a);
			return nullptr;
		}
		json_array_append_new(a, member);
	}
	return a;
}

static json_t *
tree(const toml::node &node, int depth, struct err *err)
{
	json_t *json = nullptr;

	if (depth > TOML_MAX_DEPTH) {
		err_at(err, (int)node.source().begin.line, (int)node.source().begin.column,
		    "more than %d levels deep", TOML_MAX_DEPTH);
		return nullptr;
	}
	switch (node.type()) {
	case toml::node_type::table:
		return object(*node.as_table(), depth, err);
	case toml::node_type::array:
		return array(*node.as_array(), depth, err);
	case toml::node_type::string:
		if (!(json = json_text(node.as_string()->get())))
			fault(node.source(), err, "a text with the character \\u0000");
		return json;
	case toml::node_type::integer:
		return json_integer(node.as_integer()->get());
	case toml::node_type::floating_point:
		if (!(json = json_real(node.as_floating_point()->get())))
			fault(node.source(), err, "nan and inf are no values here");
		return json;
	case toml::node_type::boolean:
		return json_boolean(node.as_boolean()->get());
	case toml::node_type::date:
		return json_text(text_of(node.as_date()->get()));
	case toml::node_type::time:
		return json_text(text_of(node.as_time()->get()));
	case toml::node_type::date_time:
		return json_text(text_of(node.as_date_time()->get()));
	case toml::node_type::none:
		break;
	}
	fault(node.source(), err, "a value that is not TOML");
	return nullptr;
}

/* --- places --- */

static void
find_lines(struct toml_file *t)
{
	t->lines.push_back(0);
	for (size_t i = 0; i < t->text.size(); i++)
		if (t->text[i] == '\n')
			t->lines.push_back(i + 1);
}

/* The node at PATH, and the key that led to it (NULL after an array). */
static const toml::node *
find(const struct toml_file *t, const char *const *path, size_t depth, const toml::key **key)
{
	const toml::node *node = &t->table;

	*key = nullptr;
	for (size_t i = 0; i < depth; i++) {
		if (const toml::table *table = node->as_table()) {
			auto it = table->find(path[i]);

			if (it == table->cend())
				return nullptr;
			*key = &it->first;
			node = &it->second;
		} else if (const toml::array *a = node->as_array()) {
			char *end;
			size_t n = strtoul(path[i], &end, 10);

			if (*end || end == path[i] || n >= a->size())
				return nullptr;
			*key = nullptr;
			node = a->get(n);
		} else
			return nullptr;
	}
	return node;
}

static void
set_place(const toml::source_region *at, int *line, int *column)
{
	*line = at ? (int)at->begin.line : 0;
	*column = at ? (int)at->begin.column : 0;
}

/* A reader of the text of one string as it stands in the file: it knows how
 * far it has come in the file and in the value. */
struct walk {
	const char *s, *end;
	int line, column;		/* in the file */
	int in_line, in_column;		/* in the value */
	bool basic, multi;

	/* One character of the file, which may be several bytes. */
	void step()
	{
		if (*s == '\n') {
			line++;
			column = 1;
		} else
			column++;
		for (s++; s < end && (*s & 0xc0) == 0x80; s++)
			;
	}
	void steps(int n)
	{
		while (n-- > 0 && s < end)
			step();
	}
	void value(bool newline)
	{
		in_line += newline;
		in_column = newline ? 1 : in_column + 1;
	}
};

/* Over the opening quotes, and the line break that follows three of them. */
static void
walk_begin(struct walk *w)
{
	char quote = *w->s;

	w->basic = quote == '"';
	w->multi = w->end - w->s > 2 && w->s[1] == quote && w->s[2] == quote;
	w->steps(w->multi ? 3 : 1);
	if (w->multi && w->s < w->end && *w->s == '\r')
		w->step();
	if (w->multi && w->s < w->end && *w->s == '\n')
		w->step();
	w->in_line = w->in_column = 1;
}

/* Over one character of the value, however it is written; and over a line that
 * goes on in the next one, which is no character at all. */
static void
walk_on(struct walk *w)
{
	char next = w->end - w->s > 1 ? w->s[1] : '\0';

	if (w->basic && *w->s == '\\' && strchr(" \t\r\n", next) && next) {
		w->step();
		while (w->s < w->end && *w->s && strchr(" \t\r\n", *w->s))
			w->step();
	} else if (w->basic && *w->s == '\\') {
		w->steps(next == 'u' ? 6 : next == 'U' ? 10 : 2);
		w->value(next == 'n');
	} else if (*w->s == '\r' && next == '\n') {
		w->step();
	} else {
		w->value(*w->s == '\n');
		w->step();
	}
}

static bool
continues(const struct walk *w)
{
	return w->basic && w->end - w->s > 1 && *w->s == '\\' && strchr(" \t\r\n", w->s[1]);
}

static void
place_inside(const struct toml_file *t, const toml::source_region &at, int *line, int *column)
{
	int to_line = *line, to_column = *column;
	struct walk w = { };

	set_place(&at, line, column);
	if (at.begin.line < 1 || at.begin.line > t->lines.size())
		return;
	w.s = t->text.data() + t->lines[at.begin.line - 1];
	w.end = t->text.data() + t->text.size();
	w.line = (int)at.begin.line;
	w.column = 1;
	while (w.s < w.end && w.column < (int)at.begin.column)
		w.step();
	if (w.s >= w.end)
		return;
	walk_begin(&w);
	while (w.s < w.end && w.line <= (int)at.end.line &&
	    (w.in_line != to_line || w.in_column != to_column || continues(&w)))
		walk_on(&w);
	if (w.in_line == to_line && w.in_column == to_column &&
	    w.line <= (int)at.end.line) {
		*line = w.line;
		*column = w.column;
	}
}

/* --- the C face --- */

/* "Error while parsing array: expected ..." without its beginning. */
static const char *
shorten(std::string_view description)
{
	static const std::string_view start = "Error while parsing ";
	size_t colon;

	if (description.substr(0, start.size()) != start ||
	    (colon = description.find(": ")) == std::string_view::npos)
		return description.data();
	return description.data() + colon + 2;
}

static struct toml_file *
parse(const char *text, size_t len, struct err *err)
{
	struct toml_file *t = nullptr;

	try {
		t = new toml_file;
		t->text.assign(text, len);
		find_lines(t);
		t->table = toml::parse(std::string_view(t->text));
		if ((t->root = tree(t->table, 0, err)))
			return t;
	} catch (const toml::parse_error &e) {
		err_at(err, (int)e.source().begin.line, (int)e.source().begin.column,
		    "%s", shorten(e.description()));
	} catch (const std::bad_alloc &) {
		mem_end();
	} catch (const std::exception &e) {
		err_set(err, "%s", e.what());
	} catch (...) {
		err_set(err, "this is not TOML");
	}
	delete t;
	return nullptr;
}

struct toml_file *
toml_parse(const char *text, size_t len, struct err *err)
{
	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		text += 3;
		len -= 3;
	}
	if (len > TOML_MAX_TEXT) {
		err_set(err, "larger than %d MiB", TOML_MAX_TEXT >> 20);
		return nullptr;
	}
	if (check_depth(text, len, err))
		return nullptr;
	return parse(text, len, err);
}

struct toml_file *
toml_open(const char *path, struct err *err)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	struct toml_file *t = nullptr;
	struct str text = STR_INIT;
	size_t n;

	if (!f) {
		err_set(err, "cannot open it: %s", strerror(errno));
		return nullptr;
	}
	do {
		str_grow(&text, 65536);
		n = fread(text.text + text.len, 1, 65536, f);
		text.len += n;
	} while (n > 0 && text.len <= TOML_MAX_TEXT + 3);
	if (ferror(f))
		err_set(err, "cannot read it: %s", strerror(errno));
	else
		t = toml_parse(text.text, text.len, err);
	str_done(&text);
	if (f != stdin)
		fclose(f);
	return t;
}

void
toml_free(struct toml_file *t)
{
	delete t;
}

const json_t *
toml_root(const struct toml_file *t)
{
	return t->root;
}

void
toml_place(const struct toml_file *t, const char *const *path, size_t depth,
    int *line, int *column)
{
	const toml::key *key;
	const toml::node *node = find(t, path, depth, &key);

	set_place(node ? &node->source() : nullptr, line, column);
}

void
toml_key_place(const struct toml_file *t, const char *const *path, size_t depth,
    int *line, int *column)
{
	const toml::key *key;
	const toml::node *node = find(t, path, depth, &key);

	set_place(node && key ? &key->source() : nullptr, line, column);
}

void
toml_place_inside(const struct toml_file *t, const char *const *path, size_t depth,
    int *line, int *column)
{
	const toml::key *key;
	const toml::node *node = find(t, path, depth, &key);

	if (node && node->is_string())
		place_inside(t, node->source(), line, column);
	else
		set_place(node ? &node->source() : nullptr, line, column);
}
