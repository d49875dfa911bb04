/* The libxml2 work-around and its proof. See sax1.c. */
#ifndef SAX1_H
#define SAX1_H

#include <stddef.h>

/* What one parse of a two-element document by a SAX1-only handler block produced. */
struct sax1_proof {
    int through_here;  /* start-element calls by way of this program's xmlSAXUserParseMemory; 2 when all is well */
    int stock;         /* start-element calls by libxml2's own function; 0 on Debian 12, 2 on a healthy libxml2 */
};

struct sax1_proof sax1_prove(void);

#endif
