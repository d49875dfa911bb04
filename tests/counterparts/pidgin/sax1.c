/*
 * xmlSAXUserParseMemory, exported by the program itself so that the dynamic linker prefers it to libxml2's.
 *
 * Why: Debian 12 builds libxml2 2.9.14 with a fix after which a handler block marked XML_SAX2_MAGIC is always parsed in
 * SAX2 mode, and the SAX1 callbacks startElement and endElement of such a block are never called. pidgin-sipe fills in
 * exactly such a block, so it sees every document as empty: no contacts, no Autodiscover, no web services. libxml2 itself
 * went back to the old behaviour in 2.13. The plugin stays as Debian ships it; only this one call is answered here.
 *
 * What it does: a block that carries the SAX2 mark and has SAX1 element callbacks only is passed on as a copy without the
 * mark. Every other block is passed on untouched.
 */
#define _GNU_SOURCE
#include "sax1.h"

#include <dlfcn.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*parse_memory)(xmlSAXHandlerPtr, void *, const char *, int);

static parse_memory stock_parser(void)
{
    static parse_memory found;
    if (!found) {
        *(void **)&found = dlsym(RTLD_NEXT, "xmlSAXUserParseMemory");
        if (!found) {
            fprintf(stderr, "sipe_signin: libxml2 is not loaded: %s\n", dlerror());
            abort();
        }
    }
    return found;
}

/* The four SAX2 fields exist only behind the mark, so it is looked at first. */
static int marked_sax2_but_sax1_only(const xmlSAXHandler *block)
{
    return block && block->initialized == XML_SAX2_MAGIC
        && (block->startElement || block->endElement)
        && !block->startElementNs && !block->endElementNs;
}

int xmlSAXUserParseMemory(xmlSAXHandlerPtr block, void *user_data, const char *text, int length)
{
    if (!marked_sax2_but_sax1_only(block))
        return stock_parser()(block, user_data, text, length);

    xmlSAXHandler unmarked = *block;
    unmarked.initialized = 1;
    return stock_parser()(&unmarked, user_data, text, length);
}

static void count_element(void *count, const xmlChar *name, const xmlChar **attributes)
{
    (void)name;
    (void)attributes;
    ++*(int *)count;
}

struct sax1_proof sax1_prove(void)
{
    static const char document[] = "<outer><inner/></outer>";
    xmlSAXHandler block;
    struct sax1_proof proof = { 0, 0 };

    memset(&block, 0, sizeof block);
    block.initialized = XML_SAX2_MAGIC;
    block.startElement = count_element;
    xmlSAXUserParseMemory(&block, &proof.through_here, document, (int)sizeof document - 1);
    stock_parser()(&block, &proof.stock, document, (int)sizeof document - 1);
    return proof;
}
