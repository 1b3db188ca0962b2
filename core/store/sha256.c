/* sha256: digests by nettle, which uses what the processor has for them. */
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/base.h"
#include "mlua_files.h"

enum { READ = 1 << 18 };

static void finish(char *hex, struct sha256_ctx *c) {
  static const char digits[] = "0123456789abcdef";
  uint8_t bytes[SHA256_DIGEST_SIZE];
  sha256_digest(c, sizeof bytes, bytes);
  for (size_t i = 0; i < sizeof bytes; i++) {
    hex[2 * i] = digits[bytes[i] >> 4];
    hex[2 * i + 1] = digits[bytes[i] & 15];
  }
}

void ml_sha256(char *hex, const void *data, int64_t n) {
  struct sha256_ctx c;
  sha256_init(&c);
  sha256_update(&c, (size_t)n, data);
  finish(hex, &c);
}

double ml_digest_key(const char *hex) {
  uint64_t key = 0;
  for (int i = 0; i < 13; i++)
    key = key << 4 | (uint64_t)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
  return (double)key;
}

bool ml_sealed(const char *seal, int64_t n, const char *id, const char *text, int64_t n_text) {
  struct sha256_ctx c;
  char hex[64];
  if (n != 80 || memcmp(seal, id, 64)) return false;
  sha256_init(&c);
  sha256_update(&c, 64, (const uint8_t *)id);
  sha256_update(&c, (size_t)n_text, (const uint8_t *)text);
  finish(hex, &c);
  return memcmp(seal + 64, hex, 16) == 0;
}

ml_err ml_sha256_file(char *hex, int64_t *size, const char *path) {
  struct sha256_ctx c;
  ml_file_facts facts;
  ML_TRY(ml_file_look(&facts, path)); /* the open of a pipe would wait */
  if (facts.kind == ML_FILE_NONE) return ml_fail(ML_EIO, "%s: %s", path, strerror(ENOENT));
  if (facts.kind != ML_FILE_REGULAR) return ml_fail(ML_EIO, "%s: not a regular file", path);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ml_fail(ML_EIO, "%s: %s", path, strerror(errno));
  uint8_t *buffer = malloc(READ);
  ml_err e = buffer ? ML_OK : ml_fail(ML_ENOMEM, "%s: out of memory", path);
  int64_t total = 0;
  sha256_init(&c);
  while (e == ML_OK) {
    ssize_t n = read(fd, buffer, READ);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) e = ml_fail(ML_EIO, "%s: %s (read)", path, strerror(errno));
    if (n <= 0) break;
    sha256_update(&c, (size_t)n, buffer);
    total += n;
  }
  free(buffer);
  close(fd);
  if (size) *size = total;
  if (e == ML_OK) finish(hex, &c);
  return e;
}
