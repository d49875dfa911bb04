/*
 * The line protocol of one end of a GSS-API handshake: commands come line by line on standard input, each is answered by
 * one line on standard output. Here is what every such program understands; it includes this once and says who speaks
 * (`gss`), what its own commands are (`obey`) and what follows a complete handshake (`established`).
 */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A driver that died must not leave this program behind. */
enum { LIFETIME_SECONDS = 60 };

/* The words of a command: its name and what belongs to it; NULL where there are fewer. */
enum { WORDS = 4 };

/* ---- what each program has of its own ---- */

/* The functions of the library that speaks. */
struct gss_functions {
    __typeof__(&gss_import_name) import_name;
    __typeof__(&gss_init_sec_context) init_sec_context;
    __typeof__(&gss_accept_sec_context) accept_sec_context;
    __typeof__(&gss_inquire_context) inquire_context;
    __typeof__(&gss_display_name) display_name;
    __typeof__(&gss_display_status) display_status;
    __typeof__(&gss_get_mic) get_mic;
    __typeof__(&gss_verify_mic) verify_mic;
};
static struct gss_functions gss;

/* Does what a line says; false: wrong use. What is no command of its own goes to obey_any. */
static bool obey(char *words[WORDS]);

/* The handshake is complete; what is left to do with the context. */
static OM_uint32 established(OM_uint32 *minor);

/* ---- one handshake ---- */

static gss_ctx_id_t context = GSS_C_NO_CONTEXT;
static gss_name_t target = GSS_C_NO_NAME;
static gss_OID mechanism = GSS_C_NO_OID;
static OM_uint32 wanted_flags;
static bool initiator;
static struct gss_channel_bindings_struct channel;
static gss_channel_bindings_t bindings = GSS_C_NO_CHANNEL_BINDINGS;

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
    gss.display_status(&ignored, minor, GSS_C_MECH_CODE, mechanism, &more, &inner);
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

/* ---- steps of the handshake ---- */

static void step(gss_buffer_t in)
{
    OM_uint32 minor = 0, major, ignored;
    gss_buffer_desc out = GSS_C_EMPTY_BUFFER;

    if (initiator)
        major = gss.init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &context, target, mechanism, wanted_flags, 0,
                                     bindings, in, NULL, &out, NULL, NULL);
    else
        major = gss.accept_sec_context(&minor, &context, GSS_C_NO_CREDENTIAL, in, bindings, NULL, &mechanism, &out,
                                       NULL, NULL, NULL);
    if (major == GSS_S_COMPLETE)
        major = established(&minor);
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        reply(major == GSS_S_COMPLETE ? "done" : "continue", out.value, out.length);
    gss_release_buffer(&ignored, &out);
}

/* The first step of an initiator. */
static void initiate(char *service)
{
    OM_uint32 minor = 0;
    gss_buffer_desc none = GSS_C_EMPTY_BUFFER, name = { strlen(service), service };
    OM_uint32 major = gss.import_name(&minor, &name, GSS_C_NT_HOSTBASED_SERVICE, &target);

    initiator = true;
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        step(&none);
}

/* ---- the commands; false: wrong use ---- */

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
    OM_uint32 major = gss.get_mic(&minor, context, GSS_C_QOP_DEFAULT, &message, &mic);
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

    if (!decode(text, &message) || !decode(signature, &mic))
        return false;
    OM_uint32 major = gss.verify_mic(&minor, context, &message, &mic, NULL);
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        puts(major == GSS_S_COMPLETE ? "good" : "refused out of order");
    return true;
}

static bool do_user(void)
{
    OM_uint32 minor = 0, ignored;
    gss_name_t source = GSS_C_NO_NAME;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    OM_uint32 major = gss.inquire_context(&minor, context, &source, NULL, NULL, NULL, NULL, NULL, NULL);

    if (!GSS_ERROR(major))
        major = gss.display_name(&minor, source, &text, NULL);
    if (GSS_ERROR(major))
        reply_refused(major, minor);
    else
        reply("user", text.value, text.length);
    gss_release_buffer(&ignored, &text);
    return true;
}

/* The commands of every such program. */
static bool obey_any(char *words[WORDS])
{
    if (strcmp(words[0], "bind") == 0)
        return do_bind(words[1]);
    if (strcmp(words[0], "token") == 0)
        return do_token(words[1]);
    if (strcmp(words[0], "mic") == 0)
        return do_mic(words[1]);
    if (strcmp(words[0], "verify") == 0)
        return do_verify(words[1], words[2]);
    return strcmp(words[0], "user") == 0 && do_user();
}

/* Obeys line after line until there are no more. */
static void obey_lines(void)
{
    char *line = NULL, *words[WORDS];
    size_t room = 0;

    alarm(LIFETIME_SECONDS);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (getline(&line, &room, stdin) > 0) {
        char *rest = line;
        line[strcspn(line, "\r\n")] = '\0';
        for (size_t each = 0; each < WORDS; each++)
            words[each] = strsep(&rest, " ");
        if (!obey(words))
            puts("error");
    }
    free(line);
}
