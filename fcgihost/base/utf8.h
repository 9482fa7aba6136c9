/* UTF-8 (RFC 3629). */
#ifndef FCGIHOST_UTF8_H
#define FCGIHOST_UTF8_H

#include <stddef.h>

/* How many of the n bytes, at least one, are one character; 0: the first begins none, as it is part
 * of an overlong form, of a surrogate, or of something beyond U+10FFFF. */
static inline size_t utf8_bytes(const char *bytes, size_t n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t length = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if ((p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
        return 0;
    return length;
}

#endif
