internal import CLinux
internal import RelayCore

/// The kernel's part in keeping a flood from the others: a program that decides about each datagram
/// before it takes room in the socket's queue (bpf(2), SO_ATTACH_BPF in socket(7)).
///
/// It needs CAP_BPF. What it decides by lies in memory that it shares with us, and in a map of the
/// addresses of peers, which we fill.
@safe
struct AdmissionFilter: ~Copyable {
    /// How far strangers may be in debt: a burst of so long passes at once.
    static let strangerRoom = 100 * Nanoseconds.perMillisecond
    /// The same for a peer. QUIC sends a congestion window at once, at least every round trip.
    static let peerRoom = 50 * Nanoseconds.perMillisecond
    /// Of what strangers may send together, no IPv4 /24 or IPv6 /48 has more than this part: an
    /// honest newcomer from elsewhere gets through a flood from a few networks.
    static let prefixPart: UInt64 = 16
    /// Networks whose part is remembered.
    static let prefixLimit: UInt32 = 16_384

    // Sound: ours alone, and open for as long as this value lives.
    private var files: clinux_admission
    private var peers = FixedStorage<clinux_admission_peer>(
        count: AdmissionRoll.addressLimit, repeating: clinux_admission_peer())

    /// Makes a filter that lets everything pass. The kernel keeps about 100 bytes for each of the
    /// peers that it is told, `peerLimit` at the most.
    init(peerLimit: Int) throws(SystemError) {
        var files = unsafe clinux_admission()
        try systemCall("load", "the overload filter") {
            Int(
                unsafe clinux_open_admission(
                    &files, UInt32(clamping: peerLimit), AdmissionFilter.prefixLimit))
        }
        unsafe self.files = files
    }

    deinit {
        var files = unsafe files
        unsafe clinux_close_admission(&files)
    }

    /// Puts limits in force.
    func set(_ limits: AdmissionLimits) {
        var shared = clinux_admission_limits()
        if let rate = limits.peerBytesPerSecond {
            shared.peer_price = AdmissionFilter.price(of: 1_024, rate)
            shared.peer_room = AdmissionFilter.peerRoom
        }
        if let rate = limits.strangersPerSecond {
            shared.stranger_price = AdmissionFilter.price(of: 1, rate)
            shared.stranger_room = AdmissionFilter.strangerRoom
            shared.prefix_price = shared.stranger_price * AdmissionFilter.prefixPart
            shared.prefix_room = AdmissionFilter.strangerRoom
        }
        unsafe clinux_limit_admission(files, shared)
    }

    /// The time in which `units` may pass; at least a nanosecond, as 0 stands for no limit.
    private static func price(of units: UInt64, _ perSecond: UInt64) -> UInt64 {
        max(1, units * Nanoseconds.perSecond / max(1, perSecond))
    }

    /// Tells the kernel peers' addresses. Those that it has no room for count as strangers'.
    mutating func admit(_ roll: borrowing AdmissionRoll) {
        for number in 0..<roll.count {
            peers[number] = clinux_admission_peer(roll.addresses[number])
        }
        _ = unsafe clinux_admit(files, peers.baseAddress, Int32(roll.count))
    }

    /// Puts the filter before a socket's queue. Says what the system said if it did not let us.
    func attach(to socket: Int32) -> Errno? {
        switch systemCall({ Int(unsafe clinux_attach_admission(files, socket)) }) {
        case .done: nil
        case .failed(let errno): errno
        }
    }

    /// Takes away any filter that a socket has.
    static func detach(from socket: Int32) {
        // None is as good.
        _ = clinux_detach_filter(socket)
    }

    /// What was refused so far.
    var refusals: AdmissionRefusals {
        let shared = unsafe clinux_admission_limits(files)
        return AdmissionRefusals(
            strangers: shared.stranger_datagrams, peers: shared.peer_datagrams,
            deliveries: shared.stranger_deliveries + shared.peer_deliveries)
    }
}

/// What a filter refused.
struct AdmissionRefusals: Equatable {
    /// Datagrams of strangers, and of peers.
    var strangers: UInt64 = 0
    var peers: UInt64 = 0
    /// What they came in. The socket counts these among its drops.
    var deliveries: UInt64 = 0
}

extension clinux_admission_peer {
    fileprivate init(_ address: TransportAddress) {
        self.init()
        // Sound: both are 16 plain bytes.
        unsafe withUnsafeMutableBytes(of: &ip) {
            unsafe $0.storeBytes(of: NetworkOrderAddress(address.ip), as: NetworkOrderAddress.self)
        }
        port_in_network_order = address.port.bigEndian
    }
}
