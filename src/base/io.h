/*
 * io.h - file descriptors: whole writes, whole reads, small files
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/str.h"
#include <sys/types.h>

/* Writes all n bytes, also over EINTR and short writes. 0, or -errno (some may be out).
 */
int io_write(int fd, const void *p, size_t n);
/* Reads until n bytes or the end of file; EINTR is retried. Bytes read (< n only at the
 * end), or -errno. An error is never an end of file. */
ssize_t io_read(int fd, void *p, size_t n);
/* Appends the whole rest of fd to b, at most max bytes. 0; -EFBIG when there is more; or
 * another -errno. */
int io_slurp(int fd, struct buf *b, size_t max);
/* The same for a path, opened O_RDONLY|O_CLOEXEC. */
int io_slurp_at(int dirfd, const char *path, struct buf *b, size_t max);
/* Copies everything from in (at its offset) to out. Bytes copied; -EFBIG: there were more than
 * most; or another -errno;
 * *ret_in_failed (may be NULL) tells which side an error was on. */
int64_t io_copy(int in, int out, int64_t most, bool *ret_in_failed);
/* Renames, never over an existing name (-EEXIST), also where the file system or the kernel lacks
 * RENAME_NOREPLACE (then by link(2) and unlink(2)). 0 or -errno. */
int io_rename_new(int from_dir, const char *from, int to_dir, const char *to);
/* A sealed memory file with these bytes, offset 0, close-on-exec. Descriptor or -errno.
 */
int io_memfd(const char *name, struct str content);

#endif
