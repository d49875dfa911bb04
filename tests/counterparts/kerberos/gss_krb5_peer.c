/*
 * One end of a Kerberos handshake, spoken by MIT's libgssapi_krb5. Commands come line by line on standard input, each is
 * answered by one line on standard output; README.md lists them.
 */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A driver that died must not leave this program behind. */
enum { LIFETIME_SECONDS = 60 };

static gss_OID_desc spnego = { 6, "\x2b\x06\x01\x05\x05\x02" };

/* ---- lines; bytes are lower-case hexadecimal, no bytes are "-" ---- */

static void reply(const char *word, const void *bytes, size_t length)
{
    printf("%s ", word);
    for (size_t at = 0; at < length; at++)
        printf("%02x", ((const unsigned char *)bytes)[at]);
    puts(length ? "" : "-");
}

static void reply_refused(OM_uint32 major, OM_uint32 minor, gss_OID mechanism)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc outer = GSS_C_EMPTY_BUFFER, inner = GSS_C_EMPTY_BUFFER;

    gss_display_status(&ignored, major, GSS_C_GSS_CODE, GSS_C_NO_OID, &more, &outer);
    more = 0;
    gss_display_status(&ignored, minor, GSS_C_MECH_CODE, mechanism, &more, &inner);
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
static gss_OID mechanism = GSS_C_NO_OID;
static OM_uint32 wanted_flags;
static bool initiator;
static struct gss_channel_bindings_struct channel;
static gss_channel_bindings_t bindings = GSS_C_NO_CHANNEL_BINDINGS;

static void step(gss_buffer_t in)
{
    OM_uint32 minor = 0, major, ignored;
    gss_buffer_desc out = GSS_C_EMPTY_BUFFER;

    if (initiator)
        major = gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &context, target, mechanism, wanted_flags, 0,
                                     bindings, in, NULL, &out, NULL, NULL);
    else
        major = gss_accept_sec_context(&minor, &context, GSS_C_NO_CREDENTIAL, in, bindings, NULL, &mechanism, &out,
                                       NULL, NULL, NULL);
    if (GSS_ERROR(major))
        reply_refused(major, minor, mechanism);
    else
        reply(major == GSS_S_COMPLETE ? "done" : "continue", out.value, out.length);
    gss_release_buffer(&ignored, &out);
}

/* ---- the commands; false: wrong use ---- */

static bool do_initiate(char *form, char *answer, char *service)
{
    OM_uint32 minor = 0;
    gss_buffer_desc none = GSS_C_EMPTY_BUFFER, name = { service ? strlen(service) : 0, service };

    if (!form || !answer || !service)
        return false;
    mechanism = strcmp(form, "spnego") == 0 ? &spnego : (gss_OID)gss_mech_krb5;
    wanted_flags = GSS_C_INTEG_FLAG | (strstr(answer, "mutual") ? GSS_C_MUTUAL_FLAG : 0)
        | (strstr(answer, "ordered") ? GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG : 0);
    initiator = true;
    OM_uint32 major = gss_import_name(&minor, &name, GSS_C_NT_HOSTBASED_SERVICE, &target);
    if (GSS_ERROR(major))
        reply_refused(major, minor, mechanism);
    else
        step(&none);
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
    OM_uint32 major = gss_get_mic(&minor, context, GSS_C_QOP_DEFAULT, &message, &mic);
    if (GSS_ERROR(major))
        reply_refused(major, minor, mechanism);
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
    OM_uint32 major = gss_verify_mic(&minor, context, &message, &mic, NULL);
    if (GSS_ERROR(major))
        reply_refused(major, minor, mechanism);
    else
        puts(major == GSS_S_COMPLETE ? "good" : "refused out of order");
    return true;
}

static bool do_user(void)
{
    OM_uint32 minor = 0, ignored;
    gss_name_t source = GSS_C_NO_NAME;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    OM_uint32 major = gss_inquire_context(&minor, context, &source, NULL, NULL, NULL, NULL, NULL, NULL);

    if (!GSS_ERROR(major))
        major = gss_display_name(&minor, source, &text, NULL);
    if (GSS_ERROR(major))
        reply_refused(major, minor, mechanism);
    else
        reply("user", text.value, text.length);
    gss_release_buffer(&ignored, &text);
    return true;
}

static bool obey(char *line)
{
    char *rest = line, *words[4];

    for (size_t each = 0; each < 4; each++)
        words[each] = strsep(&rest, " ");
    if (strcmp(words[0], "initiate") == 0)
        return do_initiate(words[1], words[2], words[3]);
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

int main(void)
{
    char *line = NULL;
    size_t room = 0;

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
