//! The file catalog: versioned definitions with their charts, modules and programs.
