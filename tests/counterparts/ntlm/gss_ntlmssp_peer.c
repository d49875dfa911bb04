/*
 * One end of an NTLM handshake, spoken by Debian's gss-ntlmssp. Commands come line by line on standard input, each is
 * answered by one line on standard output; README.md lists them.
 *
 * The mechanism's own functions are called, not libgssapi's of the same names: an acceptor of the connectionless form is
 * begun with an empty token, which libgssapi would hand to SPNEGO, whatever the credentials say.
 */
#include <dlfcn.h>
#include <glob.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A driver that died must not leave this program behind. */
enum { LIFETIME_SECONDS = 60 };

/* [MS-SIPAE]: the number of every signature in SIP; gss-ntlmssp begins with 0. */
static const uint32_t SIP_SEQUENCE = 100;

/* Three constants of gssapi_ntlmssp.h; for them alone gss-ntlmssp-dev is not asked for. */
#define MECHANISM "1.3.6.1.4.1.311.2.2.10"
#define DATAGRAM_FLAG 0x10000
static gss_OID_desc set_sequence_number = { 11, "\x2b\x06\x01\x04\x01\xb7\x7d\x85\x0f\x01\x01" };

/* ---- the mechanism ---- */

static struct {
    __typeof__(&gss_import_name) import_name;
    __typeof__(&gss_init_sec_context) init_sec_context;
    __typeof__(&gss_accept_sec_context) accept_sec_context;
    __typeof__(&gss_set_sec_context_option) set_sec_context_option;
    __typeof__(&gss_inquire_sec_context_by_oid) inquire_sec_context_by_oid;
    __typeof__(&gss_inquire_context) inquire_context;
    __typeof__(&gss_display_name) display_name;
    __typeof__(&gss_display_status) display_status;
    __typeof__(&gss_get_mic) get_mic;
    __typeof__(&gss_verify_mic) verify_mic;
} ntlm;

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
#define LOAD(name) (ntlm.name = (__typeof__(ntlm.name))dlsym(library, "gss_" #name))
    return LOAD(import_name) && LOAD(init_sec_context) && LOAD(accept_sec_context) && LOAD(set_sec_context_option)
        && LOAD(inquire_sec_context_by_oid) && LOAD(inquire_context) && LOAD(display_name) && LOAD(display_status)
        && LOAD(get_mic) && LOAD(verify_mic);
#undef LOAD
}

/* ---- lines; bytes are lower-case hexadecimal, no bytes are "-" ---- */

static void reply(const char *word, const void *bytes, size_t length)
{
    printf("%s ", word);
    for (size_t at = 0; at < length; at++)
        printf("%02x", ((const unsigned char *)bytes)[at]);
    puts(length ? "" : "-");
}

static void reply_refused(OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc outer = GSS_C_EMPTY_BUFFER, inner = GSS_C_EMPTY_BUFFER;

    gss_display_status(&ignored, major, GSS_C_GSS_CODE, GSS_C_NO_OID, &more, &outer);
    more = 0;
    ntlm.display_status(&ignored, minor, GSS_C_MECH_CODE, GSS_C_NO_OID, &more, &inner);
    printf("refused %.*s %.*s\n", (int)outer.length, (char *)outer.value, (int)inner.length, (char *)inner.value);
    gss_release_buffer(&ignored, &outer);
    gss_release_buffer(&ignored, &inner);
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes in place: each byte takes the room of its own two digits. */
static bool decode(char *text, gss_buffer_t bytes)
{
    bytes->value = text;
    bytes->length = 0;
    if (!text || strcmp(text, "-") == 0)
        return text != NULL;
    for (size_t at = 0; text[at]; at += 2) {
        int high = digit(text[at]), low = digit(text[at + 1]);
        if (high < 0 || low < 0)
            return false;
        text[bytes->length++] = (char)(high << 4 | low);
    }
    return true;
}

/* ---- one handshake ---- */

static gss_ctx_id_t context = GSS_C_NO_CONTEXT;
static gss_name_t target = GSS_C_NO_NAME;
static OM_uint32 wanted_flags;
static bool initiator, datagram;
static struct gss_channel_bindings_struct channel;
static gss_channel_bindings_t bindings = GSS_C_NO_CHANNEL_BINDINGS;

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

static void step(gss_buffer_t in)
{
    OM_uint32 minor = 0, major, ignored;
    gss_buffer_desc out = GSS_C_EMPTY_BUFFER;

    if (initiator)
        major = ntlm.init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &context, target, GSS_C_NO_OID, wanted_flags, 0,
                                      bindings, in, NULL, &out, NULL, NULL);
    else
        major = ntlm.accept_sec_context(&minor, &context, GSS_C_NO_CREDENTIAL, in, bindings, NULL, NULL, &out,
                                        NULL, NULL, NULL);
    if (major == GSS_S_COMPLETE && datagram) {
        uint32_t number = SIP_SEQUENCE;
        gss_buffer_desc value = { sizeof number, &number };
        major = ntlm.set_sec_context_option(&minor, &context, &set_sequence_number, &value);
    }
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        reply(major == GSS_S_COMPLETE ? "done" : "continue", out.value, out.length);
    gss_release_buffer(&ignored, &out);
}

/* ---- the commands; false: wrong use ---- */

static bool do_initiate(char *form_name, char *service)
{
    OM_uint32 minor = 0;
    gss_buffer_desc none = GSS_C_EMPTY_BUFFER, name = { service ? strlen(service) : 0, service };

    if (!form(form_name) || !service)
        return false;
    OM_uint32 major = ntlm.import_name(&minor, &name, GSS_C_NT_HOSTBASED_SERVICE, &target);
    initiator = true;
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        step(&none);
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

/* What both ends of a TLS connection know, for the handshake that follows. */
static bool do_bind(char *data)
{
    gss_buffer_desc bytes;

    if (!decode(data, &bytes))
        return false;
    channel.application_data.length = bytes.length;
    channel.application_data.value = malloc(bytes.length + 1);
    if (!channel.application_data.value)
        return false;
    memcpy(channel.application_data.value, bytes.value, bytes.length);
    bindings = &channel;
    reply("done", NULL, 0);
    return true;
}

static bool do_token(char *token)
{
    gss_buffer_desc in;

    if (!decode(token, &in))
        return false;
    step(&in);
    return true;
}

static bool do_mic(char *text)
{
    OM_uint32 minor = 0, ignored;
    gss_buffer_desc message, mic = GSS_C_EMPTY_BUFFER;

    if (!decode(text, &message))
        return false;
    OM_uint32 major = ntlm.get_mic(&minor, context, GSS_C_QOP_DEFAULT, &message, &mic);
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        reply("mic", mic.value, mic.length);
    gss_release_buffer(&ignored, &mic);
    return true;
}

static bool do_verify(char *text, char *signature)
{
    OM_uint32 minor = 0;
    gss_buffer_desc message, mic;

    /* The mechanism compares 16 bytes, however many there are. */
    if (!decode(text, &message) || !decode(signature, &mic) || mic.length != 16)
        return false;
    OM_uint32 major = ntlm.verify_mic(&minor, context, &message, &mic, NULL);
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        puts("good");
    return true;
}

static bool do_key(void)
{
    OM_uint32 minor = 0, ignored;
    gss_buffer_set_t keys = GSS_C_NO_BUFFER_SET;
    OM_uint32 major = ntlm.inquire_sec_context_by_oid(&minor, context, GSS_C_INQ_SSPI_SESSION_KEY, &keys);

    if (GSS_ERROR(major) || !keys || keys->count == 0)
        reply_refused(major, minor);
    else
        reply("key", keys->elements[0].value, keys->elements[0].length);
    gss_release_buffer_set(&ignored, &keys);
    return true;
}

static bool do_user(void)
{
    OM_uint32 minor = 0, ignored;
    gss_name_t source = GSS_C_NO_NAME;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    OM_uint32 major = ntlm.inquire_context(&minor, context, &source, NULL, NULL, NULL, NULL, NULL, NULL);

    if (!GSS_ERROR(major))
        major = ntlm.display_name(&minor, source, &text, NULL);
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        reply("user", text.value, text.length);
    gss_release_buffer(&ignored, &text);
    return true;
}

static bool obey(char *line)
{
    char *rest = line, *words[3];

    for (size_t each = 0; each < 3; each++)
        words[each] = strsep(&rest, " ");
    if (strcmp(words[0], "initiate") == 0)
        return do_initiate(words[1], words[2]);
    if (strcmp(words[0], "accept") == 0)
        return do_accept(words[1]);
    if (strcmp(words[0], "bind") == 0)
        return do_bind(words[1]);
    if (strcmp(words[0], "token") == 0)
        return do_token(words[1]);
    if (strcmp(words[0], "mic") == 0)
        return do_mic(words[1]);
    if (strcmp(words[0], "verify") == 0)
        return do_verify(words[1], words[2]);
    if (strcmp(words[0], "key") == 0)
        return do_key();
    return strcmp(words[0], "user") == 0 && do_user();
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;

    if (!load_mechanism())
        return 3;
    setlocale(LC_ALL, ""); /* accounts are looked up by the locale's rules */
    alarm(LIFETIME_SECONDS);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (getline(&line, &room, stdin) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!obey(line))
            puts("error");
    }
    free(line);
    return 0;
}
