/*
 * One end of an NTLM handshake, spoken by Debian's gss-ntlmssp. README.md lists the commands.
 *
 * The mechanism's own functions are called, not libgssapi's of the same names: an acceptor of the connectionless form is
 * begun with an empty token, which libgssapi would hand to SPNEGO, whatever the credentials say.
 */
#include "../gss_peer_lines.h"
#include <dlfcn.h>
#include <glob.h>
#include <locale.h>
#include <stdint.h>

/* [MS-SIPAE]: the number of every signature in SIP; gss-ntlmssp begins with 0. */
static const uint32_t SIP_SEQUENCE = 100;

/* Three constants of gssapi_ntlmssp.h; for them alone gss-ntlmssp-dev is not asked for. */
#define MECHANISM "1.3.6.1.4.1.311.2.2.10"
#define DATAGRAM_FLAG 0x10000
static gss_OID_desc set_sequence_number = { 11, "\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x01" };

/* ---- the mechanism ---- */

/* Two more of its functions. */
static __typeof__(&gss_set_sec_context_option) set_sec_context_option;
static __typeof__(&gss_inquire_sec_context_by_oid) inquire_sec_context_by_oid;

/* Its library, as libgssapi finds it: name, object identifier and path in one line of a file. */
static char *mechanism_library(void)
{
    glob_t files = { 0 };
    char *path = NULL;

    if (glob("/etc/gss/mech.d/*.conf", 0, NULL, &files) != 0)
        return NULL;
    for (size_t each = 0; each < files.gl_pathc && !path; each++) {
        FILE *file = fopen(files.gl_pathv[each], "r");
        char line[1024];
        while (file && !path && fgets(line, sizeof line, file)) {
            char identifier[128];
            if (sscanf(line, "%*s %127s %ms", identifier, &path) == 2 && strcmp(identifier, MECHANISM) != 0) {
                free(path);
                path = NULL;
            }
        }
        if (file)
            fclose(file);
    }
    globfree(&files);
    return path;
}

static bool load_mechanism(void)
{
    char *path = mechanism_library();
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;

    if (!library) {
        fprintf(stderr, "gss_ntlmssp_peer: no mechanism; install gss-ntlmssp (%s)\n", path ? dlerror() : "not configured");
        return false;
    }
    free(path);
#define LOAD(function, name) (function = (__typeof__(function))dlsym(library, "gss_" #name))
#define LOAD_GSS(name) LOAD(gss.name, name)
    return LOAD_GSS(import_name) && LOAD_GSS(init_sec_context) && LOAD_GSS(accept_sec_context) && LOAD_GSS(inquire_context)
        && LOAD_GSS(display_name) && LOAD_GSS(display_status) && LOAD_GSS(get_mic) && LOAD_GSS(verify_mic)
        && LOAD(set_sec_context_option, set_sec_context_option)
        && LOAD(inquire_sec_context_by_oid, inquire_sec_context_by_oid);
#undef LOAD_GSS
#undef LOAD
}

/* ---- one handshake ---- */

static bool datagram;

static bool form(const char *name)
{
    datagram = name && strcmp(name, "datagram") == 0;
    if (datagram)
        wanted_flags = DATAGRAM_FLAG | GSS_C_INTEG_FLAG;
    else if (name && strcmp(name, "connection") == 0)
        wanted_flags = GSS_C_INTEG_FLAG;
    else if (name && strcmp(name, "unsigned") == 0)
        wanted_flags = 0;
    else
        return false;
    return true;
}

static OM_uint32 established(OM_uint32 *minor)
{
    uint32_t number = SIP_SEQUENCE;
    gss_buffer_desc value = { sizeof number, &number };

    return datagram ? set_sec_context_option(minor, &context, &set_sequence_number, &value) : GSS_S_COMPLETE;
}

/* ---- the commands; false: wrong use ---- */

static bool do_initiate(char *form_name, char *service)
{
    if (!form(form_name) || !service)
        return false;
    initiate(service);
    return true;
}

/* The connectionless form has no first message: its acceptor speaks at once. */
static bool do_accept(char *form_name)
{
    gss_buffer_desc none = GSS_C_EMPTY_BUFFER;

    if (!form(form_name))
        return false;
    if (datagram)
        step(&none);
    else
        reply("continue", NULL, 0);
    return true;
}

/* The mechanism compares 16 bytes, however many there are. */
static bool do_verify_whole(char *text, char *signature)
{
    return signature && strlen(signature) == 2 * 16 && do_verify(text, signature);
}

static bool do_key(void)
{
    OM_uint32 minor = 0, ignored;
    gss_buffer_set_t keys = GSS_C_NO_BUFFER_SET;
    OM_uint32 major = inquire_sec_context_by_oid(&minor, context, GSS_C_INQ_SSPI_SESSION_KEY, &keys);

    if (GSS_ERROR(major) || !keys || keys->count == 0)
        reply_refused(major, minor);
    else
        reply("key", keys->elements[0].value, keys->elements[0].length);
    gss_release_buffer_set(&ignored, &keys);
    return true;
}

static bool obey(char *words[WORDS])
{
    if (strcmp(words[0], "initiate") == 0)
        return do_initiate(words[1], words[2]);
    if (strcmp(words[0], "accept") == 0)
        return do_accept(words[1]);
    if (strcmp(words[0], "verify") == 0)
        return do_verify_whole(words[1], words[2]);
    if (strcmp(words[0], "key") == 0)
        return do_key();
    return obey_any(words);
}

int main(void)
{
    if (!load_mechanism())
        return 3;
    setlocale(LC_ALL, ""); /* accounts are looked up by the locale's rules */
    obey_lines();
    return 0;
}
