/*
 * safetensors: reads the header of a safetensors file.
 *
 *   8 bytes   N, little-endian
 *   N bytes   a JSON object, padded with spaces:
 *             {"__metadata__": {"key": "value", …},
 *              "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, …}
 *   the rest  the tensors, side by side from offset 0, without holes
 *
 * The whole grammar is in here, because the file may be hostile: a general JSON reader keeps the
 * last of two equal keys, nests, and makes tables many times larger than the text. Per tensor this
 * one keeps 24 bytes (the text has at least 50) and reads the text again when asked.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/base.h"
#include "map.h"

enum { MAX_HEADER = 100 * 1000 * 1000 }; /* the reference's own limit */

typedef struct {
  int64_t begin, end; /* in the data */
  int64_t at;         /* of the name, in the text */
} place;

struct ml_safetensors {
  char *path;
  ml_map *map;
  const char *text; /* the header */
  int64_t size;     /* of the header */
  place *places;
  int64_t count, capacity;
  int64_t metadata; /* where its pairs begin in the text, or 0 */
  char *strings;    /* unescaped: a name, or a key and its value */
  int64_t longest;  /* the most that it must hold */
};

/* A cursor; any failure ends the reading. */
typedef struct {
  ml_safetensors *file;
  int64_t at;
} cursor;

/* A string as it stands in the text, without its quotes. */
typedef struct {
  int64_t at, n;
} span;

static const struct {
  const char *name;
  int dtype;
} dtypes[] = {{"F64", ML_F64}, {"F32", ML_F32}, {"BF16", ML_BF16}, {"F16", ML_F16},
              {"I64", ML_I64}, {"I32", ML_I32}, {"U8", ML_U8},     {"BOOL", ML_BOOL}};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

const char *ml_safetensors_dtype(int dtype) {
  for (int i = 0; i < DTYPES; i++)
    if (dtypes[i].dtype == dtype) return dtypes[i].name;
  return NULL;
}

/* -- errors -- */

#define BAD(c, at_, fmt, ...)                                   \
  ml_fail(ML_EFORMAT, "%s: offset %lld: " fmt, (c)->file->path, \
          (long long)(at_) + 8 __VA_OPT__(, ) __VA_ARGS__)

/* A piece of the text for a message: as it stands, without what would upset a terminal. */
static const char *shown(const ml_safetensors *s, span x, char out[64]) {
  int n = (int)ML_MIN(x.n, 40);
  for (int i = 0; i < n; i++) {
    char b = s->text[x.at + i];
    out[i] = b >= 32 && b < 127 ? b : '?';
  }
  memcpy(out + n, n < x.n ? "..." : "", n < x.n ? 4 : 1);
  return out;
}

/* -- strings: JSON's, checked when first read, so that later readers need not -- */

static int hex4(const char *p) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = p[i] >= '0' && p[i] <= '9'   ? p[i] - '0'
                : p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10
                : p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/* The length of the UTF-8 sequence at p with n bytes left, or 0: shortest form, no surrogates. */
static int utf8(const unsigned char *p, int64_t n) {
  int len = p[0] < 0x80   ? 1
            : p[0] < 0xC2 ? 0
            : p[0] < 0xE0 ? 2
            : p[0] < 0xF0 ? 3
            : p[0] < 0xF5 ? 4
                          : 0;
  if (!len || len > n) return 0;
  for (int i = 1; i < len; i++)
    if ((p[i] & 0xC0) != 0x80) return 0;
  if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F)) return 0;
  if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F)) return 0;
  return len;
}

/* The length of the escape at p (its backslash) with n bytes left, or 0. *code: its character. */
static int escape(const char *p, int64_t n, uint32_t *code) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  const char *known = n >= 2 && p[1] ? strchr(from, p[1]) : NULL;
  if (known) return *code = (uint32_t)to[known - from], 2;
  if (n < 6 || p[1] != 'u') return 0;
  int high = hex4(p + 2);
  if (high < 0 || (high >= 0xDC00 && high < 0xE000)) return 0;
  *code = (uint32_t)high;
  if (high < 0xD800 || high >= 0xE000) return 6;
  int low = n >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8) : -1;
  if (low < 0xDC00 || low > 0xDFFF) return 0;
  *code = 0x10000 + (((uint32_t)high - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
  return 12;
}

static int put_utf8(char *out, uint32_t c) {
  if (c < 0x80) return out[0] = (char)c, 1;
  int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
  out[0] = (char)((0xF00 >> n) | c);
  return n;
}

/* Unescapes a checked string, never longer than its text. */
static int64_t unescape(const ml_safetensors *s, span x, char *out) {
  const char *p = s->text + x.at, *end = p + x.n;
  char *start = out;
  while (p < end) {
    uint32_t code;
    if (*p != '\\') {
      *out++ = *p++;
    } else {
      p += escape(p, end - p, &code);
      out += put_utf8(out, code);
    }
  }
  return out - start;
}

/* Next byte of a checked string, unescaped; -1 at its end. `spill` holds the rest of an escape. */
typedef struct {
  const char *p, *end;
  char spill[4];
  int have, next;
} bytes;

static int next_byte(bytes *b) {
  if (b->next < b->have) return (unsigned char)b->spill[b->next++];
  if (b->p == b->end) return -1;
  if (*b->p != '\\') return (unsigned char)*b->p++;
  uint32_t code;
  b->p += escape(b->p, b->end - b->p, &code);
  b->have = put_utf8(b->spill, code);
  b->next = 1;
  return (unsigned char)b->spill[0];
}

static int compare(const ml_safetensors *s, span x, span y) {
  bytes a = {.p = s->text + x.at, .end = s->text + x.at + x.n};
  bytes b = {.p = s->text + y.at, .end = s->text + y.at + y.n};
  for (;;) {
    int p = next_byte(&a), q = next_byte(&b);
    if (p != q) return p < q ? -1 : 1;
    if (p < 0) return 0;
  }
}

static bool is(const ml_safetensors *s, span x, const char *word) {
  bytes a = {.p = s->text + x.at, .end = s->text + x.at + x.n};
  int b;
  while ((b = next_byte(&a)) >= 0)
    if (!*word || b != (unsigned char)*word++) return false;
  return !*word;
}

/* -- tokens -- */

static void blanks(cursor *c) {
  const ml_safetensors *s = c->file;
  while (c->at < s->size && memchr(" \t\n\r", s->text[c->at], 4)) c->at++;
}

static int peek(cursor *c) {
  blanks(c);
  return c->at < c->file->size ? (unsigned char)c->file->text[c->at] : -1;
}

static ml_err expect(cursor *c, char wanted) {
  int got = peek(c);
  if (got < 0) return BAD(c, c->at, "expected '%c', the header ends", wanted);
  if (got != wanted && (got < 33 || got > 126))
    return BAD(c, c->at, "expected '%c', got byte 0x%02x", wanted, got);
  if (got != wanted) return BAD(c, c->at, "expected '%c', got '%c'", wanted, got);
  c->at++;
  return ML_OK;
}

static ml_err string(cursor *c, span *out) {
  ML_TRY(expect(c, '"'));
  const ml_safetensors *s = c->file;
  int64_t start = c->at, at = start;
  for (uint32_t code; at < s->size && s->text[at] != '"';) {
    unsigned char b = (unsigned char)s->text[at];
    int len = b < 32      ? 0
              : b == '\\' ? escape(s->text + at, s->size - at, &code)
                          : utf8((const unsigned char *)s->text + at, s->size - at);
    if (!len)
      return BAD(c, at, "%s",
                 b < 32      ? "a control character in a string"
                 : b == '\\' ? "not an escape of JSON"
                             : "not UTF-8");
    at += len;
  }
  if (at >= s->size) return BAD(c, start - 1, "a string without an end");
  *out = (span){start, at - start};
  c->at = at + 1;
  return ML_OK;
}

/* A whole number from 0 to INT64_MAX, without sign, point, exponent or leading zero. */
static ml_err number(cursor *c, int64_t *out) {
  int first = peek(c);
  const ml_safetensors *s = c->file;
  int64_t start = c->at, value = 0;
  for (; c->at < s->size && s->text[c->at] >= '0' && s->text[c->at] <= '9'; c->at++)
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, s->text[c->at] - '0', &value))
      return BAD(c, start, "a number too large");
  int after = c->at < s->size ? s->text[c->at] : 0;
  if (first == '-') return BAD(c, start, "a negative number");
  if (c->at == start || (first == '0' && c->at > start + 1) || after == '.' || after == 'e' ||
      after == 'E')
    return BAD(c, start, "expected a whole number");
  *out = value;
  return ML_OK;
}

/* Between the elements of an object or array: true while there is another one. */
static ml_err more(cursor *c, char close, bool first, bool *out) {
  int got = peek(c);
  *out = got != close;
  if (!*out) return c->at++, ML_OK;
  return first ? ML_OK : expect(c, ',');
}

/* -- the header -- */

static ml_err dtype(cursor *c, span name, int32_t *out) {
  span x;
  char a[64], b[64];
  ML_TRY(string(c, &x));
  for (int i = 0; i < DTYPES; i++)
    if (is(c->file, x, dtypes[i].name)) return *out = dtypes[i].dtype, ML_OK;
  return BAD(c, x.at,
             "tensor '%s' has dtype '%s'; F64, F32, BF16, F16, I64, I32, U8 and BOOL are read",
             shown(c->file, name, a), shown(c->file, x, b));
}

static ml_err shape(cursor *c, span name, ml_safetensor *t) {
  char a[64];
  bool another;
  ML_TRY(expect(c, '['));
  for (t->ndim = 0;; t->ndim++) {
    ML_TRY(more(c, ']', t->ndim == 0, &another));
    if (!another) return ML_OK;
    if (t->ndim == ML_MAX_DIM)
      return BAD(c, c->at, "tensor '%s' has more than %d dimensions", shown(c->file, name, a),
                 ML_MAX_DIM);
    ML_TRY(number(c, &t->shape[t->ndim]));
  }
}

static ml_err offsets(cursor *c, int64_t *begin, int64_t *end) {
  ML_TRY(expect(c, '['));
  ML_TRY(number(c, begin));
  ML_TRY(expect(c, ','));
  ML_TRY(number(c, end));
  return expect(c, ']');
}

/* {"dtype": …, "shape": …, "data_offsets": …} in any order, each once. */
static ml_err entry(cursor *c, span name, ml_safetensor *t) {
  static const char *const keys[] = {"dtype", "shape", "data_offsets"};
  const ml_safetensors *s = c->file;
  char a[64], b[64];
  unsigned seen = 0;
  int64_t begin = 0, end = 0, start = c->at;
  bool another;
  span key;
  ML_TRY(expect(c, '{'));
  for (bool first = true;; first = false) {
    ML_TRY(more(c, '}', first, &another));
    if (!another) break;
    ML_TRY(string(c, &key));
    int which = 0;
    while (which < 3 && !is(s, key, keys[which])) which++;
    if (which == 3 || seen & 1u << which)
      return BAD(c, key.at, "tensor '%s' has %s '%s'", shown(s, name, a),
                 which == 3 ? "an unknown key" : "twice the key", shown(s, key, b));
    seen |= 1u << which;
    ML_TRY(expect(c, ':'));
    ML_TRY(which == 0   ? dtype(c, name, &t->dtype)
           : which == 1 ? shape(c, name, t)
                        : offsets(c, &begin, &end));
  }
  for (int i = 0; i < 3; i++)
    if (!(seen & 1u << i))
      return BAD(c, start, "tensor '%s' has no %s", shown(s, name, a), keys[i]);
  int64_t wanted, there = s->map->size - 8 - s->size;
  if (!ml__tensor_bytes(&wanted, t->dtype, t->ndim, t->shape))
    return BAD(c, start, "tensor '%s' is too large", shown(s, name, a));
  if (begin > end || end > there)
    return BAD(c, start, "tensor '%s' has data offsets %lld to %lld; the file has 0 to %lld",
               shown(s, name, a), (long long)begin, (long long)end, (long long)there);
  if (end - begin != wanted)
    return BAD(c, start, "tensor '%s' has %lld bytes of data; its shape and dtype need %lld",
               shown(s, name, a), (long long)(end - begin), (long long)wanted);
  t->offset = 8 + s->size + begin;
  t->bytes = wanted;
  return ML_OK;
}

static ml_err keep(cursor *c, place p) {
  ml_safetensors *s = c->file;
  if (s->count == s->capacity) {
    int64_t capacity = s->capacity ? 2 * s->capacity : 16;
    place *grown = realloc(s->places, (size_t)capacity * sizeof *grown);
    if (!grown) return ml_fail(ML_ENOMEM, "%s: out of memory", s->path);
    s->places = grown;
    s->capacity = capacity;
  }
  s->places[s->count++] = p;
  return ML_OK;
}

/* {"key": "value", …} */
static ml_err pairs(cursor *c) {
  ml_safetensors *s = c->file;
  bool another;
  ML_TRY(expect(c, '{'));
  s->metadata = c->at;
  for (bool first = true;; first = false) {
    span key, value;
    ML_TRY(more(c, '}', first, &another));
    if (!another) return ML_OK;
    ML_TRY(string(c, &key));
    ML_TRY(expect(c, ':'));
    ML_TRY(string(c, &value));
    s->longest = ML_MAX(s->longest, key.n + value.n);
  }
}

static ml_err members(cursor *c) {
  ml_safetensors *s = c->file;
  bool another;
  ML_TRY(expect(c, '{'));
  for (bool first = true;; first = false) {
    span name;
    ML_TRY(more(c, '}', first, &another));
    if (!another) break;
    ML_TRY(string(c, &name));
    ML_TRY(expect(c, ':'));
    if (is(s, name, "__metadata__")) {
      if (s->metadata) return BAD(c, name.at, "'__metadata__' is there twice");
      ML_TRY(pairs(c));
      continue;
    }
    ml_safetensor t;
    ML_TRY(entry(c, name, &t));
    int64_t begin = t.offset - 8 - s->size;
    s->longest = ML_MAX(s->longest, name.n);
    ML_TRY(keep(c, (place){begin, begin + t.bytes, name.at - 1}));
  }
  if (peek(c) >= 0) return BAD(c, c->at, "text after the header's end");
  return ML_OK;
}

/* -- what no single entry shows -- */

static span name_at(const ml_safetensors *s, int64_t at) {
  cursor c = {(ml_safetensors *)s, at};
  span x = {0, 0};
  string(&c, &x); /* was read before: cannot fail */
  return x;
}

static int by_data(const void *x, const void *y) {
  const place *a = x, *b = y;
  if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
  if (a->end != b->end) return a->end < b->end ? -1 : 1;
  return a->at < b->at ? -1 : a->at > b->at;
}

static int by_name(const void *x, const void *y, void *file) {
  const uint32_t *a = x, *b = y;
  return compare(file, name_at(file, *a), name_at(file, *b));
}

/* No string twice among those that begin at at[0..n): sorted, the equal ones are neighbours. */
static ml_err differ(ml_safetensors *s, uint32_t *at, int64_t n, const char *what) {
  cursor c = {s, 0};
  char a[64];
  qsort_r(at, (size_t)n, sizeof *at, by_name, s);
  for (int64_t i = 1; i < n; i++) {
    span x = name_at(s, at[i]);
    if (!compare(s, name_at(s, at[i - 1]), x))
      return BAD(&c, ML_MAX(at[i - 1], at[i]), "%s '%s' is there twice", what, shown(s, x, a));
  }
  return ML_OK;
}

/* Moves past one pair of the metadata, checked before; false at their end. */
static bool pair(cursor *c, span *key, span *value) {
  if (peek(c) == ',') c->at++;
  if (peek(c) != '"') return false;
  string(c, key);
  expect(c, ':');
  string(c, value);
  return true;
}

static ml_err names_differ(ml_safetensors *s) {
  int64_t n = 0, metadata = 0;
  span key, value;
  cursor c = {s, s->metadata};
  while (s->metadata && pair(&c, &key, &value)) metadata++;
  if (!s->count && !metadata) return ML_OK;
  uint32_t *at = malloc((size_t)ML_MAX(s->count, metadata) * sizeof *at);
  if (!at) return ml_fail(ML_ENOMEM, "%s: out of memory", s->path);
  for (int64_t i = 0; i < s->count; i++) at[i] = (uint32_t)s->places[i].at;
  ml_err code = differ(s, at, s->count, "tensor");
  for (c.at = s->metadata; !code && n < metadata && pair(&c, &key, &value);)
    at[n++] = (uint32_t)key.at - 1;
  if (!code) code = differ(s, at, n, "metadata key");
  free(at);
  return code;
}

/* The data from 0 to the file's end, each byte in one tensor. */
static ml_err side_by_side(ml_safetensors *s) {
  int64_t at = 0, there = s->map->size - 8 - s->size;
  char a[64];
  if (s->count) qsort(s->places, (size_t)s->count, sizeof *s->places, by_data);
  for (int64_t i = 0; i < s->count; at = s->places[i++].end)
    if (s->places[i].begin != at)
      return ml_fail(
          ML_EFORMAT, "%s: offset %lld: tensor '%s' %s", s->path,
          (long long)(8 + s->size + s->places[i].begin), shown(s, name_at(s, s->places[i].at), a),
          s->places[i].begin < at ? "overlaps the one before it" : "has a hole before it");
  if (at == there) return ML_OK;
  return ml_fail(ML_EFORMAT, "%s: offset %lld: %lld bytes that belong to no tensor", s->path,
                 (long long)(8 + s->size + at), (long long)(there - at));
}

/* -- opening -- */

static ml_err read_header(ml_safetensors *s) {
  const unsigned char *p = s->map->data;
  uint64_t n = 0;
  if (s->map->size < 8)
    return ml_fail(ML_EFORMAT, "%s: offset %lld: the file ends within the first 8 bytes", s->path,
                   (long long)s->map->size);
  for (int i = 7; i >= 0; i--) n = n << 8 | p[i];
  if (n > MAX_HEADER || n > (uint64_t)s->map->size - 8)
    return ml_fail(ML_EFORMAT, "%s: offset 0: a header of %llu bytes; the file has %lld after it%s",
                   s->path, (unsigned long long)n, (long long)s->map->size - 8,
                   n > MAX_HEADER ? ", and 100 MB is the most" : "");
  s->text = (const char *)p + 8;
  s->size = (int64_t)n;
  cursor c = {s, 0};
  ML_TRY(members(&c));
  ML_TRY(names_differ(s));
  ML_TRY(side_by_side(s));
  s->strings = malloc((size_t)s->longest + 1);
  return s->strings ? ML_OK : ml_fail(ML_ENOMEM, "%s: out of memory", s->path);
}

void ml_safetensors_close(ml_safetensors *s) {
  if (!s) return;
  ml_map_release(s->map);
  free(s->path);
  free(s->places);
  free(s->strings);
  free(s);
}

ml_err ml_safetensors_open(ml_safetensors **out, const char *path) {
  *out = NULL;
  if (!path) return ml_fail(ML_EARG, "path: expected a string, got NULL");
  ml_safetensors *s = calloc(1, sizeof *s);
  if (!s) return ml_fail(ML_ENOMEM, "%s: out of memory", path);
  s->path = strdup(path);
  ml_err code = s->path ? ML_OK : ml_fail(ML_ENOMEM, "%s: out of memory", path);
  if (!code) code = ml_map_open(&s->map, path, ML_MAP_COPY);
  if (!code) code = read_header(s);
  if (code) return ml_safetensors_close(s), code;
  *out = s;
  return ML_OK;
}

/* -- what is in it -- */

int64_t ml_safetensors_count(const ml_safetensors *s) { return s->count; }

ml_err ml_safetensors_entry(ml_safetensors *s, int64_t i, ml_safetensor *out) {
  if (i < 0 || i >= s->count)
    return ml_fail(ML_EARG, "%s: tensor %lld of %lld", s->path, (long long)i, (long long)s->count);
  cursor c = {s, s->places[i].at};
  span name;
  *out = (ml_safetensor){.ndim = 0};
  ML_TRY(string(&c, &name));
  ML_TRY(expect(&c, ':'));
  ML_TRY(entry(&c, name, out));
  out->name = s->strings;
  out->name_len = unescape(s, name, s->strings);
  return ML_OK;
}

ml_err ml_safetensors_tensor(ml_safetensors *s, int64_t i, ml_ref *out) {
  ml_safetensor t;
  char cause[512];
  ML_TRY(ml_safetensors_entry(s, i, &t));
  ml_err code = ml_map_tensor(out, s->map, t.offset, t.dtype, t.ndim, t.shape);
  if (!code) return ML_OK;
  snprintf(cause, sizeof cause, "%s", ml_error());
  return ml_fail(code, "%s: %s (tensor '%.*s')", s->path, cause, (int)ML_MIN(t.name_len, 40),
                 t.name);
}

ml_err ml_safetensors_metadata(ml_safetensors *s, int64_t *at, const char **key, int64_t *key_len,
                               const char **value, int64_t *value_len) {
  cursor c = {s, *at ? *at : s->metadata};
  span k, v;
  if (!s->metadata || c.at < s->metadata || !pair(&c, &k, &v)) return ML_END;
  *key = s->strings;
  *key_len = unescape(s, k, s->strings);
  *value = s->strings + *key_len;
  *value_len = unescape(s, v, s->strings + *key_len);
  *at = c.at;
  return ML_OK;
}
