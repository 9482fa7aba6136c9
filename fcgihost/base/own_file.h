/* Files that the host writes at paths which other users may be able to change: as root it must not
 * be led to /etc/shadow by a link of theirs. */
#ifndef FCGIHOST_OWN_FILE_H
#define FCGIHOST_OWN_FILE_H

#include <sys/types.h>

/* open(2), close-on-exec. Refuses with ELOOP a path with a symbolic link of another user in it (for
 * others than root: in a folder that everybody can write to), with EMLINK a file that has several
 * names, with EPERM another user's file, where another user may have put them. Any thread. */
int own_file_open(const char *path, int flags, mode_t mode);

/* Puts the text in a new file, which then takes the path's place: there is never half of it. What
 * is no regular file (/dev/null) is written to. Links as above. 0, or -1 with errno. */
int own_file_replace(const char *path, const char *text);

/* Removes the file if that is its text; links as above. */
void own_file_remove(const char *path, const char *text);

/* For a message: what these functions mean by an errno; NULL: what it means elsewhere. */
const char *own_file_refusal(int number);

#endif
