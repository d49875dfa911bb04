//! One program: demo, lab, signin, admin.
fn main() {}
