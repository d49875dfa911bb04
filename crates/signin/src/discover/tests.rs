//! Both halves together.
