#pragma once
#include "drivers/acpi/tables.hpp"

namespace aril::acpi {

/// What firmware without ACPI says about CPUs and interrupt controllers: the configuration table of
/// [Intel MultiProcessor Specification 1.4] 4, found in the BIOS areas. kNoEnt when there is none;
/// kBadMsg when it is broken. ISA lines are taken to be wired one to one, as in every virtual
/// machine that has such a table.
Result<InterruptModel> find_mp_table(PhysicalView view);

}  // namespace aril::acpi
