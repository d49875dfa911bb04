//! The server that took the last sign-in, by address, in one small file. A file that cannot be read is as good as none:
//! the sign-in then looks for a server as if for the first time.

use miette::{IntoDiagnostic, Result, WrapErr};
use signin::discover::client::Cached;
use signin::name::Aor;
use std::collections::BTreeMap;
use std::path::Path;

/// What the file knows of this address.
pub(crate) fn read(file: &Path, aor: &Aor) -> Option<Cached> {
    entries(file).remove(aor.as_str())
}

/// Keeps (or, after a failure, forgets) where this address signed in.
pub(crate) fn write(file: &Path, aor: &Aor, reached: Option<&Cached>) -> Result<()> {
    let mut entries = entries(file);
    match reached {
        Some(cached) => entries.insert(aor.to_string(), cached.clone()),
        None => entries.remove(aor.as_str()),
    };
    let text = serde_json::to_string_pretty(&entries).into_diagnostic()?;
    std::fs::write(file, text).into_diagnostic().wrap_err_with(|| format!("{} cannot be written", file.display()))
}

fn entries(file: &Path) -> BTreeMap<String, Cached> {
    std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use signin::discover::AccessLocation;

    #[test]
    fn remembers_by_address_and_survives_a_damaged_file() {
        let file = std::env::temp_dir().join(format!("signpost-cache-{}.json", std::process::id()));
        let (alice, bob) = ("alice@x.test".parse().expect("aor"), "bob@x.test".parse().expect("aor"));
        let reached = Cached {
            host: "fe01.x.test".to_owned(),
            port: 5061,
            addresses: vec!["127.0.0.1".parse().expect("address")],
            view: AccessLocation::Internal,
        };
        std::fs::write(&file, "not json").expect("writable");
        assert_eq!(read(&file, &alice), None);
        write(&file, &alice, Some(&reached)).expect("writable");
        assert_eq!((read(&file, &alice), read(&file, &bob)), (Some(reached), None));
        write(&file, &alice, None).expect("writable");
        assert_eq!(read(&file, &alice), None);
        std::fs::remove_file(&file).expect("removable");
    }
}
