#pragma once
#include <termios.h>
#include <unistd.h>

namespace stellarium::cli {

/// How the terminal on standard input is set, to be restored after a program that may be killed before it does so. If
/// there is none, nothing happens.
class TerminalState {
 public:
  TerminalState() : is_terminal_{::tcgetattr(STDIN_FILENO, &state_) == 0} {}
  void restore() const {
    if (is_terminal_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &state_);
  }

 private:
  termios state_{};
  bool is_terminal_;
};

}  // namespace stellarium::cli
