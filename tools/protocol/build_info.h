#pragma once

namespace stellarium::protocol {

const char* version();   ///< "0.1.0"
const char* build_id();  ///< "0.1.0+529fee7": version and commit the program was configured from; equal in programs
                         ///< that belong together

}  // namespace stellarium::protocol
