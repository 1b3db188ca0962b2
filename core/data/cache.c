/*
 * cache: the file that a data set is mapped from.
 *
 *   header    ml__header, then ids in each table; to a multiple of 4096 bytes
 *   sections  label, dense, ids, planted, words: 4-byte values, each from a multiple of 64 bytes
 *
 * The header has a sum over itself and one for each section. Opening checks the header and that the
 * sizes in it add up to the file's; the sections' sums are for those who ask (verify). Ids are
 * checked against their tables when batches are gathered, so that no contents can lead outside.
 * The name and the header hold a digest of what the data were made from: another source, or other
 * options, is another file.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clicks.h"

static const char magic[8] = "mlclicks";
enum { VERSION = 1, ORDER = 0x01020304, PAGE = 4096, LINE = 64 };

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static inline uint64_t mix(uint64_t x) { /* one to one */
  x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
  x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
  return x ^ x >> 32;
}

ML_CLONES uint64_t ml__section_sum(const void *data, int64_t n, int64_t at) {
  const uint32_t *word = data;
  uint64_t sum = 0;
  for (int64_t i = 0; i < n; i++) sum += mix((uint64_t)(at + i) << 32 | word[i]);
  return sum;
}

uint64_t ml__digest(const char *text, uint64_t seed) {
  uint64_t x = mix(seed + 1);
  for (; *text; text++) x = mix(x + 1 + (unsigned char)*text);
  return x;
}

int64_t ml__header_size(int32_t n_cat) {
  return round_up((int64_t)sizeof(ml__header) + n_cat * (int64_t)sizeof(int64_t), PAGE);
}

uint64_t ml__header_sum(const ml__header *h) {
  const uint32_t *word = (const uint32_t *)h;
  int64_t n = ((int64_t)sizeof *h + h->n_cat * (int64_t)sizeof(int64_t)) / 4;
  int64_t skip = (int64_t)offsetof(ml__header, sum) / 4;
  return ml__section_sum(word, skip, 0) + ml__section_sum(word + skip + 2, n - skip - 2, skip + 2);
}

void ml__header_layout(ml__header *h) {
  int64_t words = 0, at = ml__header_size(h->n_cat);
  for (int32_t t = 0; t < h->n_cat && !h->hashed; t++) words += h->tables[t];
  const int64_t count[ML__SECTIONS] = {
      [ML__LABEL] = h->rows,
      [ML__DENSE] = h->rows * h->n_dense,
      [ML__IDS] = h->rows * h->n_cat,
      [ML__PLANTED] = h->planted ? h->rows : 0,
      [ML__WORDS] = words,
  };
  memcpy(h->magic, magic, sizeof magic);
  h->version = VERSION;
  h->order = ORDER;
  for (int i = 0; i < ML__SECTIONS; i++) {
    h->section[i].offset = at = round_up(at, LINE);
    h->section[i].size = 4 * count[i];
    at += h->section[i].size;
  }
  h->file_size = at;
}

/* NULL if the header may be trusted, else what is wrong. Reads nothing beyond `size` bytes. */
static const char *check_header(const ml__header *h, int64_t size, const uint64_t key[2]) {
  if (size < PAGE) return "cut short";
  if (memcmp(h->magic, magic, sizeof magic)) return "not a cache file";
  if (h->version != VERSION || h->order != ORDER) return "of another version";
  if (h->n_cat < 0 || h->n_cat > ML__MAX_COLUMNS || ml__header_size(h->n_cat) > size)
    return "damaged header";
  if (h->sum != ml__header_sum(h)) return "damaged header";
  if (h->key[0] != key[0] || h->key[1] != key[1]) return "made from something else";
  if (h->file_size != size) return "cut short";
  return NULL;
}

void ml__clicks_point(ml_clicks *c, ml__header *h, const char *base) {
  const ml__section *s = h->section;
  c->header = h;
  c->info.rows = h->rows;
  c->info.n_dense = h->n_dense;
  c->info.n_cat = h->n_cat;
  c->info.tables = h->tables;
  c->info.label = (const float *)(base + s[ML__LABEL].offset);
  c->info.dense = (const float *)(base + s[ML__DENSE].offset);
  c->info.ids = (const int32_t *)(base + s[ML__IDS].offset);
  c->info.planted = h->planted ? (const float *)(base + s[ML__PLANTED].offset) : NULL;
  c->info.words = h->hashed ? NULL : (const uint32_t *)(base + s[ML__WORDS].offset);
}

/* -- all contents, in pieces of 1 Mi words -- */

enum { PIECE = 1 << 20 };

typedef struct verification {
  const char *base;
  const ml__section *section;
  uint64_t sum;
} verification;

static ml_err sum_piece(void *ctx, int64_t i) {
  verification *v = ctx;
  int64_t n = v->section->size / 4, at = i * PIECE;
  const char *data = v->base + v->section->offset + 4 * at;
  uint64_t sum = ml__section_sum(data, ML_MIN(PIECE, n - at), at);
  __atomic_add_fetch(&v->sum, sum, __ATOMIC_RELAXED);
  return ML_OK;
}

static bool contents_match(const ml_map *map, const ml__header *h, ml__team *team) {
  for (int i = 0; i < ML__SECTIONS; i++) {
    verification v = {.base = map->data, .section = &h->section[i]};
    int64_t words = h->section[i].size / 4;
    if (ml__team_run(team, (words + PIECE - 1) / PIECE, sum_piece, &v) ||
        v.sum != h->section[i].sum)
      return false;
  }
  return true;
}

ml_err ml__cache_open(ml_clicks *c, const uint64_t key[2], bool verify, ml__team *team) {
  ml_map *map;
  if (access(c->cache, F_OK)) return ML_END;
  const char *wrong;
  if (ml_map_open(&map, c->cache, ML_MAP_READ)) {
    snprintf(c->note, sizeof c->note, "%s; made again", ml_error());
    return ML_END;
  }
  ml__header *h = map->data;
  wrong = check_header(h, map->size, key);
  if (!wrong && verify && !contents_match(map, h, team)) wrong = "damaged contents";
  if (wrong) {
    snprintf(c->note, sizeof c->note, "%s: %s; made again", c->cache, wrong);
    ml_map_release(map);
    return ML_END;
  }
  c->map = map;
  ml__clicks_point(c, h, map->data);
  return ML_OK;
}
