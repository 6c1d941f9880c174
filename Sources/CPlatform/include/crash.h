#pragma once

/// Has a trap or a fault of this process leave a line on standard error before it ends: the signal, the thread and the place.
void weft_report_crashes(void);
