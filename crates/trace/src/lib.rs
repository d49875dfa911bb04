//! Records of a sign-in and what is read from them: call-flow ladder, replay. Only observes.
