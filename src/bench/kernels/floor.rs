//! The controls: every kernel in its plain scalar form, as a careful programmer writes it without vectors. They share
//! no code with the kernels.

pub(super) mod dtw;
pub(super) mod lcss;
pub(super) mod pearson;
pub(super) mod ucr_suite;
