#include "clock.hpp"
#include "options.hpp"
#include "tender.hpp"

int main(int count, char** words) {
  const aril::tender::ClockMeter clock;
  aril::tender::become_instance(aril::tender::parse_options(count, words), clock);
}
