//! Active Directory as Samba speaks it: users by LDAP, NTLM by winbind, tickets by the keytab.

mod directory;
mod domain_controller;
mod kerberos;
mod ntlm;
mod sign_in;
#[cfg(feature = "gssapi")]
mod single_sign_on;

/// Runs a test on this thread, which is in the network of the domain controller.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test)
}
