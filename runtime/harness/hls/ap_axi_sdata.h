/* AXI stream beats for simulation without the vendor's tool, whose header of this name takes this one's place. */
#ifndef AP_AXI_SDATA_H
#define AP_AXI_SDATA_H

#include <ap_int.h>

template <int DATA, int USER, int ID, int DEST> struct ap_axiu {
  static_assert(USER == 0 && ID == 0 && DEST == 0, "only TDATA, TKEEP, TSTRB and TLAST");
  ap_uint<DATA> data;
  ap_uint<DATA / 8> keep, strb;
  ap_uint<1> last;
};

#endif
