#pragma once

namespace stellarium::server {

/// Puts the calling thread below everybody's who answers programs: SCHED_BATCH, nice 5, the lowest I/O priority but
/// idle. Not idle: who holds a lock for a moment must get on. A failure is logged; `what` it then does at normal
/// priority.
void lower_thread_priority(const char* what);

}  // namespace stellarium::server
