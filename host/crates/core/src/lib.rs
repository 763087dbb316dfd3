//! The pure core of Nestor: specification, planner, execution state machine, grants and ports.
