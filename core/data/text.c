/*
 * text: rows of the Criteo format, from a mapped file.
 *
 * A chunk owns the lines that begin in it. Chunks are counted first, so that each knows its first
 * row, then parsed by any thread. A row is parsed without looking for its end: every field stops at
 * the first character that is not its own, and what does not then stand there sends the line to
 * explain(), which is slow and says exactly what is wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clicks.h"

enum { CHUNK = 1 << 19, DIGITS = 18, LOGS = 4096, COUNT_AT_ONCE = 64 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "hex8 reads words lowest byte first");

struct ml__text {
  char *path; /* as given, for messages */
  ml_map *map;
  const char *begin, *end;
  struct stat st;
  int32_t n_dense, n_cat;
  int64_t limit;        /* rows wanted, or INT64_MAX */
  int64_t longest;      /* bytes that a well-formed row can take, end of line included */
  int64_t chunks, *row; /* [chunks + 1] first row of each chunk */
  int64_t counting;     /* first chunk of those now counted */
  float logs[LOGS];     /* log(x + 1) */
};

/* -- fields: each returns where it ends, or NULL -- */

/* -?[0-9]{0,18}: x into *value as log(x + 1), 0 if negative or empty. A lone minus is malformed. */
static inline const char *integer(const char *p, const ml__text *t, float *value) {
  bool minus = *p == '-';
  const char *digits = p + minus;
  uint64_t x = 0;
  for (p = digits; (unsigned char)(*p - '0') < 10 && p - digits <= DIGITS; p++)
    x = x * 10 + (uint64_t)(*p - '0');
  if (p - digits > DIGITS || (minus && p == digits)) return NULL;
  if (minus) x = 0;
  *value = x < LOGS ? t->logs[x] : (float)log1p((double)x);
  return p;
}

static const int8_t hex_value[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

/* Eight hexadecimal digits at once: all bytes of the word checked and converted side by side. */
static inline bool hex8(const char *p, uint32_t *value) {
  const uint64_t each = UINT64_C(0x0101010101010101), high = 0x80 * each;
  uint64_t w;
  memcpy(&w, p, 8);
  uint64_t low = w | (0x20 * each);
  uint64_t digit = (w + (0x80 - '0') * each) & ~(w + (0x80 - '9' - 1) * each);
  uint64_t letter = (low + (0x80 - 'a') * each) & ~(low + (0x80 - 'f' - 1) * each);
  if ((w & high) | (((digit | letter) & high) ^ high)) return false;
  uint64_t x = __builtin_bswap64((low & (0x0F * each)) + 9 * ((letter & high) >> 7));
  x = (x | x >> 4) & UINT64_C(0x00FF00FF00FF00FF);
  x = (x | x >> 8) & UINT64_C(0x0000FFFF0000FFFF);
  *value = (uint32_t)(x | x >> 16);
  return true;
}

static inline const char *word(const char *p, uint32_t *value) {
  if (hex8(p, value)) return p + 8;
  uint32_t x = 0;
  for (int i = 0, v; i < 8 && (v = hex_value[(unsigned char)*p]); i++, p++)
    x = x << 4 | (uint32_t)(v - 1);
  *value = x;
  return p;
}

/*
 * A row at p into place `at` of the block. Reads at most t->longest + 8 bytes. Returns where the
 * next row begins, or NULL if the row is malformed.
 */
static const char *parse_row(const ml__text *t, const char *p, ml__block *b, int64_t at) {
  if (*p != '0' && *p != '1') return NULL;
  b->label[at] = (float)(*p++ - '0');
  float *dense = b->dense + at * t->n_dense;
  for (int32_t i = 0; i < t->n_dense; i++) {
    if (*p++ != '\t' || !(p = integer(p, t, dense + i))) return NULL;
  }
  uint32_t *words = b->words + at;
  for (int32_t i = 0; i < t->n_cat; i++) {
    if (*p++ != '\t') return NULL;
    p = word(p, words + i * b->cap);
  }
  p += *p == '\r';
  return *p == '\n' ? p + 1 : NULL;
}

/* -- what is wrong with a line -- */

static bool valid_field(const ml__text *t, int64_t column, const char *p, int64_t n) {
  if (column == 1) return n == 1 && (*p == '0' || *p == '1');
  int64_t i = 0;
  if (column > 1 + t->n_dense) {
    while (i < n && hex_value[(unsigned char)p[i]]) i++;
    return i == n && n <= 8;
  }
  bool minus = n > 0 && *p == '-';
  for (i = minus; i < n && p[i] >= '0' && p[i] <= '9'; i++) {}
  return i == n && n - minus <= DIGITS && !(minus && n == 1);
}

static ml_err explain(const ml__text *t, const char *line, int64_t row) {
  const char *end = memchr(line, '\n', (size_t)(t->end - line));
  if (!end) end = t->end;
  if (end > line && end[-1] == '\r') end--;
  int64_t columns = 1, wanted = 1 + t->n_dense + t->n_cat, column = 1;
  for (const char *p = line; p < end; p++) columns += *p == '\t';
  if (columns != wanted)
    return ml_fail(ML_EFORMAT, "%s:%lld: expected %lld columns, got %lld", t->path,
                   (long long)row + 1, (long long)wanted, (long long)columns);
  for (const char *p = line, *stop; column <= wanted; column++, p = stop + 1) {
    stop = memchr(p, '\t', (size_t)(end - p));
    if (!stop) stop = end;
    if (valid_field(t, column, p, stop - p)) continue;
    char got[36];
    int n = (int)ML_MIN(stop - p, 32);
    for (int i = 0; i < n; i++) got[i] = p[i] < ' ' || p[i] > '~' ? '?' : p[i];
    snprintf(got + n, sizeof got - (size_t)n, "%s", stop - p > n ? "..." : "");
    return ml_fail(ML_EFORMAT, "%s:%lld: column %lld: expected %s, got '%s'", t->path,
                   (long long)row + 1, (long long)column,
                   column == 1                ? "a label, 0 or 1"
                   : column <= 1 + t->n_dense ? "an integer of up to 18 digits"
                                              : "up to 8 hexadecimal digits",
                   got);
  }
  return ml_fail(ML_EFORMAT, "%s:%lld: malformed row", t->path, (long long)row + 1);
}

/* -- chunks -- */

/* First line that begins at or after p. */
static const char *line_from(const ml__text *t, const char *p) {
  if (p <= t->begin) return t->begin;
  const char *end = p - 1 < t->end ? memchr(p - 1, '\n', (size_t)(t->end - p + 1)) : NULL;
  return end ? end + 1 : t->end;
}

/* Lines that begin in a chunk: an end of line just before each, but for the first of the file. */
static ml_err count_chunk(void *ctx, int64_t i) {
  ml__text *t = ctx;
  int64_t chunk = t->counting + i, n = chunk == 0;
  const char *p = t->begin + chunk * CHUNK, *stop = ML_MIN(t->end, p + CHUNK) - 1;
  if (chunk) p--;
  while ((p = memchr(p, '\n', (size_t)(stop - p)))) p++, n++;
  t->row[chunk + 1] = n;
  return ML_OK;
}

static ml_err fill(void *ctx, int64_t chunk, ml__block *b) {
  const ml__text *t = ctx;
  int64_t rows = t->row[chunk + 1] - t->row[chunk];
  b->rows = 0;
  if (!rows) return ML_OK;
  const char *p = line_from(t, t->begin + chunk * CHUNK), *near_end = t->end - t->longest - 8;
  char *tail = NULL;
  for (; b->rows < rows; b->rows++) {
    const char *line = p;
    if (p <= near_end) {
      p = parse_row(t, line, b, b->rows);
    } else { /* the last few: copied, so that fields may be read past the end of the file */
      const char *end = memchr(line, '\n', (size_t)(t->end - line));
      int64_t n = (end ? end : t->end) - line;
      if (!tail && !(tail = malloc((size_t)t->longest + 16)))
        return ml_fail(ML_ENOMEM, "%s: out of memory", t->path);
      p = NULL;
      if (n < t->longest) {
        memcpy(tail, line, (size_t)n);
        memset(tail + n, 0, (size_t)(t->longest + 16 - n));
        tail[n] = '\n';
        if (parse_row(t, tail, b, b->rows)) p = end ? end + 1 : t->end;
      }
    }
    if (p) continue;
    free(tail);
    return explain(t, line, t->row[chunk] + b->rows);
  }
  free(tail);
  return ML_OK;
}

/* -- opening -- */

ml_err ml__text_identity(const char *path, char *out, size_t size) {
  struct stat st;
  char *full = realpath(path, NULL);
  if (!full || stat(full, &st)) {
    free(full);
    return ml_fail(ML_EIO, "%s: %s", path, strerror(errno));
  }
  snprintf(out, size, "%s\n%lld %lld %lld %lld.%09ld", full, (long long)st.st_dev,
           (long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
           st.st_mtim.tv_nsec);
  free(full);
  return ML_OK;
}

static ml_err unchanged(void *ctx) {
  const ml__text *t = ctx;
  struct stat st;
  if (stat(t->path, &st)) return ml_fail(ML_EIO, "%s: %s", t->path, strerror(errno));
  if (st.st_ino != t->st.st_ino || st.st_size != t->map->size ||
      st.st_mtim.tv_sec != t->st.st_mtim.tv_sec || st.st_mtim.tv_nsec != t->st.st_mtim.tv_nsec)
    return ml_fail(ML_EIO, "%s: changed while it was read", t->path);
  return ML_OK;
}

void ml__text_close(ml__text *t) {
  if (!t) return;
  ml_map_release(t->map);
  free(t->path);
  free(t->row);
  free(t);
}

ml_err ml__text_open(ml__text **out, const char *path, const ml_clicks_options *o) {
  *out = NULL;
  ml__text *t = calloc(1, sizeof *t);
  if (!t || !(t->path = strdup(path)))
    return free(t), ml_fail(ML_ENOMEM, "%s: out of memory", path);
  ml_err err = ml_map_open(&t->map, path, ML_MAP_READ | ML_MAP_SEQUENTIAL);
  if (!err && stat(path, &t->st)) err = ml_fail(ML_EIO, "%s: %s", path, strerror(errno));
  if (!err && !t->map->size)
    err = ml_fail(ML_EFORMAT, "%s:1: expected %d columns, got an empty file", path,
                  1 + o->n_dense + o->n_cat);
  if (err) return ml__text_close(t), err;
  t->begin = t->map->data;
  t->end = t->begin + t->map->size;
  t->n_dense = o->n_dense;
  t->n_cat = o->n_cat;
  t->limit = o->rows ? o->rows : INT64_MAX;
  t->longest = 1 + (int64_t)o->n_dense * (2 + DIGITS) + (int64_t)o->n_cat * 9 + 2;
  for (int i = 0; i < LOGS; i++) t->logs[i] = (float)log1p((double)i);
  *out = t;
  return ML_OK;
}

ml_err ml__text_source(ml__text *t, ml__source *source, ml__team *team) {
  int64_t most = (t->map->size + CHUNK - 1) / CHUNK;
  t->row = calloc((size_t)most + 1, sizeof *t->row);
  if (!t->row) return ml_fail(ML_ENOMEM, "%s: out of memory", t->path);
  while (t->chunks < most && t->row[t->chunks] < t->limit) {
    int64_t n = ML_MIN(most - t->chunks, COUNT_AT_ONCE);
    t->counting = t->chunks;
    ML_TRY(ml__team_run(team, n, count_chunk, t));
    for (int64_t i = 0; i < n; i++, t->chunks++) t->row[t->chunks + 1] += t->row[t->chunks];
  }
  while (t->chunks > 1 && t->row[t->chunks - 1] >= t->limit) t->chunks--;
  t->row[t->chunks] = ML_MIN(t->row[t->chunks], t->limit);
  *source = (ml__source){
      .rows = t->row[t->chunks],
      .chunks = t->chunks,
      .row = t->row,
      .n_dense = t->n_dense,
      .n_cat = t->n_cat,
      .fill = fill,
      .finish = unchanged,
      .ctx = t,
  };
  /* A well-formed row takes one byte a column and one for its end: more lines than that have a bad
   * one among them, which ends the chunk before it is full. */
  for (int64_t i = 0; i < t->chunks; i++)
    source->most_rows = ML_MAX(source->most_rows, t->row[i + 1] - t->row[i]);
  source->most_rows = ML_MIN(source->most_rows, CHUNK / (2 + t->n_dense + t->n_cat) + 2);
  return ML_OK;
}
