/* durable: four threads fill one file at their offsets while its header is written last. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mlua_store.h"

enum { THREADS = 4, PIECES = 64, PIECE = 10007 };

static ml_file *file;

static void *fill(void *arg) {
  int me = *(int *)arg;
  char piece[PIECE];
  memset(piece, 'a' + me, sizeof piece);
  for (int i = 0; i < PIECES; i++)
    if (ml_file_pwrite(file, piece, PIECE, 8 + (int64_t)(i * THREADS + me) * PIECE)) return arg;
  return NULL;
}

static int fail(const char *what) {
  fprintf(stderr, "durable_test: %s: %s\n", what, ml_error());
  return 1;
}

static int check(const char *path) {
  ml_map *map;
  if (ml_map_open(&map, path, ML_MAP_SEQUENTIAL)) return fail("map");
  const char *data = map->data;
  bool ok = map->size == 8 + (int64_t)THREADS * PIECES * PIECE && !memcmp(data, "written.", 8);
  for (int64_t i = 8; ok && i < map->size; i++) ok = data[i] == 'a' + (i - 8) / PIECE % THREADS;
  ml_map_release(map);
  return ok ? 0 : fail("contents");
}

int main(void) {
  char path[] = "/tmp/durable_test_XXXXXX";
  int fd = mkstemp(path), me[THREADS];
  pthread_t thread[THREADS];
  if (fd < 0) return 1;
  if (ml_file_create(&file, path)) return fail("create");
  if (ml_file_resize(file, 8 + (int64_t)THREADS * PIECES * PIECE)) return fail("resize");
  for (int i = 0; i < THREADS; i++) {
    me[i] = i;
    if (pthread_create(&thread[i], NULL, fill, &me[i])) return 1;
  }
  bool failed = false;
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(thread[i], &result);
    failed = failed || result;
  }
  if (failed) return fail("pwrite");
  if (ml_file_write(file, "written.", 8)) return fail("write");
  if (ml_file_commit(file)) return fail("commit");
  int status = check(path);
  remove(path);
  return status;
}
