/*
 * One end of a Kerberos handshake, spoken by MIT's libgssapi_krb5. README.md lists the commands.
 */
#include "../gss_peer_lines.h"
#include <gssapi/gssapi_krb5.h>

static gss_OID_desc spnego = { 6, "\x2b\x06\x01\x05\x05\x02" };

static struct gss_functions gss = {
    .import_name = gss_import_name,
    .init_sec_context = gss_init_sec_context,
    .accept_sec_context = gss_accept_sec_context,
    .inquire_context = gss_inquire_context,
    .display_name = gss_display_name,
    .display_status = gss_display_status,
    .get_mic = gss_get_mic,
    .verify_mic = gss_verify_mic,
};

static OM_uint32 established(OM_uint32 *minor)
{
    *minor = 0;
    return GSS_S_COMPLETE;
}

static bool do_initiate(char *form, char *answer, char *service)
{
    if (!form || !answer || !service)
        return false;
    mechanism = strcmp(form, "spnego") == 0 ? &spnego : (gss_OID)gss_mech_krb5;
    wanted_flags = GSS_C_INTEG_FLAG | (strstr(answer, "mutual") ? GSS_C_MUTUAL_FLAG : 0)
        | (strstr(answer, "ordered") ? GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG : 0);
    initiate(service);
    return true;
}

static bool obey(char *words[WORDS])
{
    if (strcmp(words[0], "initiate") == 0)
        return do_initiate(words[1], words[2], words[3]);
    return obey_any(words);
}

int main(void)
{
    obey_lines();
    return 0;
}
