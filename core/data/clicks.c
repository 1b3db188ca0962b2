/* clicks: data sets of clicks: opened from the cache or made, and written out as text. */
#define _GNU_SOURCE
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clicks.h"
#include "mlua_files.h"

/* -- options -- */

static ml_err check_options(const ml_clicks_options *o) {
  if (o->n_dense < 0 || o->n_dense > ML__MAX_COLUMNS)
    return ml_fail(ML_EARG, "n_dense: expected 0 to %d, got %d", ML__MAX_COLUMNS, o->n_dense);
  if (o->n_cat < 0 || o->n_cat > ML__MAX_COLUMNS)
    return ml_fail(ML_EARG, "n_cat: expected 0 to %d, got %d", ML__MAX_COLUMNS, o->n_cat);
  if (o->rows < 0)
    return ml_fail(ML_EARG, "rows: expected 0 or more, got %lld", (long long)o->rows);
  if (o->modulo < 0 || o->modulo > INT32_MAX)
    return ml_fail(ML_EARG, "modulo: expected 0 to %d, got %lld", INT32_MAX, (long long)o->modulo);
  if (o->hash && !o->modulo) return ml_fail(ML_EARG, "hash: expected a modulo above 0");
  if (o->threads < 0 || o->threads > 1024)
    return ml_fail(ML_EARG, "threads: expected 0 to 1024, got %d", o->threads);
  return ML_OK;
}

/* A handle with its cache file named, by what the data are made from and how: c->cache, key. */
static ml_err clicks_new(ml_clicks **out, uint64_t key[2], const char *name, const char *identity,
                         const ml_clicks_options *o) {
  char text[PATH_MAX + 1024], file[PATH_MAX];
  ml_clicks *c = calloc(1, sizeof *c);
  if (!c) return ml_fail(ML_ENOMEM, "%s: out of memory", name);
  *out = c;
  c->refs = 1;
  c->info.note = c->note;
  snprintf(text, sizeof text, "%s\n%d %d %lld %lld %d", identity, o->n_dense, o->n_cat,
           (long long)o->rows, (long long)o->modulo, o->hash);
  key[0] = ml__digest(text, 0);
  key[1] = ml__digest(text, 1);
  int n = snprintf(file, sizeof file, "%s/clicks-%016llx%016llx.bin", o->cache ? o->cache : "",
                   (unsigned long long)key[0], (unsigned long long)key[1]);
  c->info.name = c->name = strdup(name);
  c->info.cache = c->cache = strdup(o->cache && n < (int)sizeof file ? file : "");
  return c->name && c->cache ? ML_OK : ml_fail(ML_ENOMEM, "%s: out of memory", name);
}

/* The cache's folder and its left-overs. Without a folder the data stay in memory. */
static void prepare_cache(ml_clicks *c, const ml_clicks_options *o) {
  if (!*c->cache) return;
  if (ml_make_folders(o->cache)) {
    snprintf(c->note, sizeof c->note, "%s; kept in memory", ml_error());
    *c->cache = 0;
  } else {
    ml_store_sweep(o->cache, NULL);
  }
}

/* -- opening -- */

static ml_err from_text(ml_clicks *c, const char *path, const uint64_t key[2],
                        const ml_clicks_options *o, ml__team *team) {
  ml__text *text;
  ml__source source;
  ML_TRY(ml__text_open(&text, path, o));
  ml_err err = ml__text_source(text, &source, team);
  if (!err) err = ml__build(c, &source, key, o, team);
  ml__text_close(text);
  return err;
}

static ml_err from_planted(ml_clicks *c, const ml_synthetic *what, const uint64_t key[2],
                           const ml_clicks_options *o, ml__team *team) {
  ml__planted *planted;
  ml__source source;
  ML_TRY(ml__planted_open(&planted, what, o));
  ml__planted_source(planted, &source);
  ml_err err = ml__build(c, &source, key, o, team);
  ml__planted_close(planted);
  return err;
}

/* From the cache, else made: from the text at `name` or, if `what` is given, from the model. */
static ml_err open_or_make(ml_clicks **out, const char *name, const char *identity,
                           const ml_synthetic *what, const ml_clicks_options *options) {
  ml_clicks_options o = *options;
  if (!o.threads) o.threads = ml_threads();
  ml_clicks *c = NULL;
  ml__team *team = NULL;
  uint64_t key[2];
  ml_err err = clicks_new(&c, key, name, identity, &o), cached = ML_END;
  if (!err && *c->cache && !o.verify) cached = ml__cache_open(c, key, false, NULL);
  if (!err && cached) err = ml__team_new(&team, o.threads);
  if (!err && *c->cache && o.verify) cached = ml__cache_open(c, key, true, team);
  if (!err && cached) {
    prepare_cache(c, &o);
    err = what ? from_planted(c, what, key, &o, team) : from_text(c, name, key, &o, team);
  } else if (!err) {
    c->info.warm = true;
  }
  ml__team_free(team);
  if (err) return ml_clicks_close(c), err;
  *out = c;
  return ML_OK;
}

ml_err ml_clicks_open(ml_clicks **out, const char *path, const ml_clicks_options *o) {
  char identity[PATH_MAX + 256];
  *out = NULL;
  if (!path || !*path) return ml_fail(ML_EARG, "path: expected a file");
  ML_TRY(check_options(o));
  ML_TRY(ml__text_identity(path, identity, sizeof identity));
  return open_or_make(out, path, identity, NULL, o);
}

ml_err ml_clicks_synthetic(ml_clicks **out, const ml_synthetic *what, const ml_clicks_options *o) {
  char identity[256];
  *out = NULL;
  ML_TRY(check_options(o));
  if (what->rows < 1)
    return ml_fail(ML_EARG, "rows: expected 1 or more, got %lld", (long long)what->rows);
  if (what->skew < 0 || what->skew > 16)
    return ml_fail(ML_EARG, "skew: expected 0 to 16, got %d", what->skew);
  uint64_t tables = 0;
  for (int32_t t = 0; t < o->n_cat; t++) {
    char text[64];
    if (what->tables[t] < 1 || what->tables[t] > INT32_MAX)
      return ml_fail(ML_EARG, "table %d: expected 1 to %d words, got %lld", t + 1, INT32_MAX,
                     (long long)what->tables[t]);
    snprintf(text, sizeof text, "%lld", (long long)what->tables[t]);
    tables = ml__digest(text, tables);
  }
  snprintf(identity, sizeof identity, "synthetic 2\n%lld %llu %d %016llx", (long long)what->rows,
           (unsigned long long)what->seed, what->skew, (unsigned long long)tables);
  return open_or_make(out, "synthetic", identity, what, o);
}

const ml_clicks_info *ml_clicks_view(const ml_clicks *c) { return c ? &c->info : NULL; }

void ml__clicks_retain(ml_clicks *c) { __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED); }

void ml_clicks_close(ml_clicks *c) {
  if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
  if (!c->map) free(c->header);
  if (c->memory) munmap(c->memory, (size_t)c->memory_size);
  ml_map_release(c->map);
  free(c->name);
  free(c->cache);
  free(c);
}

/* -- writing -- */

static char *put_count(char *p, float dense) {
  char digits[24];
  int n = 0;
  double x = rint(expm1((double)dense));
  uint64_t count = x > 0 ? x < 1e18 ? (uint64_t)x : (uint64_t)1e18 - 1 : 0;
  do digits[n++] = (char)('0' + count % 10);
  while (count /= 10);
  while (n) *p++ = digits[--n];
  return p;
}

static char *put_word(char *p, uint32_t word) {
  for (int shift = 28; word && shift >= 0; shift -= 4)
    *p++ = "0123456789abcdef"[word >> shift & 15];
  return p;
}

ml_err ml_clicks_write(const ml_clicks *c, const char *path, int64_t first, int64_t count) {
  const ml_clicks_info *s = &c->info;
  if (first < 0 || count < 0 || first > s->rows - count)
    return ml_fail(ML_EARG, "rows: expected 0 to %lld, got %lld from %lld", (long long)s->rows,
                   (long long)count, (long long)first);
  char *line = malloc((size_t)(4 + s->n_dense * 20 + s->n_cat * 9));
  const uint32_t **words = calloc((size_t)s->n_cat + 1, sizeof *words);
  ml_file *f = NULL;
  ml_err err =
      line && words ? ml_file_create(&f, path) : ml_fail(ML_ENOMEM, "%s: out of memory", path);
  for (int64_t t = 0, at = 0; s->words && words && t < s->n_cat; at += s->tables[t++])
    words[t] = s->words + at;
  for (int64_t r = first; !err && r < first + count; r++) {
    char *p = line;
    *p++ = s->label[r] > 0 ? '1' : '0';
    for (int32_t i = 0; i < s->n_dense; i++) {
      *p++ = '\t';
      p = put_count(p, s->dense[r * s->n_dense + i]);
    }
    for (int32_t t = 0; t < s->n_cat; t++) {
      uint32_t id = (uint32_t)s->ids[r * s->n_cat + t];
      if (id >= s->tables[t]) {
        err = ml_fail(ML_ERANGE, "%s: row %lld: id %u of table %d: expected below %lld", c->name,
                      (long long)r + 1, id, t + 1, (long long)s->tables[t]);
        break;
      }
      *p++ = '\t';
      p = put_word(p, words[t] ? words[t][id] : id);
    }
    *p++ = '\n';
    if (!err) err = ml_file_write(f, line, p - line);
  }
  free(line);
  free(words);
  if (err) return ml_file_abort(f), err;
  return ml_file_commit(f);
}
