package import MVCC
package import Raft
internal import Transport

/// The members as of what is applied: who takes part, and what each says of itself.
package struct Membership: Sendable {
    package struct Entry: Sendable {
        package var member: Member
        /// Empty while the member has not started.
        package var attributes: MemberAttributes

        package init(member: Member, attributes: MemberAttributes) {
            self.member = member
            self.attributes = attributes
        }

        /// The name; the id of a member that has not said its name yet.
        package var title: String { attributes.name.isEmpty ? hex(member.id) : attributes.name }
    }

    /// By ascending id.
    package var entries: [Entry] = []

    package init() {}

    init(configuration: Configuration, attributes: [(id: UInt64, attributes: MemberAttributes)]) {
        entries = configuration.members.map { member in
            let own = attributes.first { $0.id == member.id }?.attributes
            return Entry(member: member, attributes: own ?? MemberAttributes(name: "", clientURLs: []))
        }
    }

    package subscript(_ id: NodeID) -> Entry? { entries.first { $0.member.id == id } }
}

/// If peers can be reached at a URL of this form.
package func isPeerURL(_ url: String) -> Bool {
    PeerAddress(url: url) != nil
}
